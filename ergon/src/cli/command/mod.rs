//! The commands, one file each.

pub(crate) mod check;
pub(crate) mod dead_letters;
pub(crate) mod describe;
pub(crate) mod list;
pub(crate) mod process;
pub(crate) mod run;

pub(crate) use describe::Described;
