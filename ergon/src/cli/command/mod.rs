//! Implements the commands of a project's program, in one module for each command.

pub(crate) mod check;
pub(crate) mod dead_letters;
pub(crate) mod describe;
pub(crate) mod list;
pub(crate) mod process;
pub(crate) mod run;

pub(crate) use describe::Described;
