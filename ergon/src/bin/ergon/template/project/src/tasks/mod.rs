//! The project's tasks, a folder each, and what they share.

mod constants;
mod errors;
mod helpers;
mod schemas;

pub(crate) mod example_task;
// ergon: a new task is added above this line
