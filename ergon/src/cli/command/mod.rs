//! The commands, one file each.

pub(crate) mod describe;
pub(crate) mod list;
pub(crate) mod process;
pub(crate) mod run;

pub(crate) use describe::Described;
