//! Parts from which connectors are built.

pub mod file;
