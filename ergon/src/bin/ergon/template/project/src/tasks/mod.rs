//! The tasks of this project, one folder for each, and the code that they share.

mod constants;
mod errors;
mod helpers;
mod schemas;

pub(crate) mod example_task;
// ergon: a new task is added above this line
