//! Parses tokens into syntax. The module `validate` checks the meaning.

mod entry;
mod groups;
mod main;
mod task;

pub(crate) use entry::{Entry, Value, entries};
pub(crate) use groups::in_type;
pub(crate) use main::{MainInput, MainKey, Slot, Wired};
pub(crate) use task::{Shape, TaskInput};
