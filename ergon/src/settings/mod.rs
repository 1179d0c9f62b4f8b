//! The project's own configuration.

mod path;

pub use path::FilePath;
