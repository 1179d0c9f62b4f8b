//! From tokens to syntax; says nothing about what it means.

mod entry;
mod main;
mod task;

pub(crate) use entry::{Entry, Value, entries};
pub(crate) use main::{MainInput, MainKey, Wired};
pub(crate) use task::TaskInput;
