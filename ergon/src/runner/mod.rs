//! Who runs it: builds tasks out of their configs, opens what they are wired to, runs them, and ends in good order.
//!
//! A [`Plan`] (a task and its policy in force) is [built](Plan::build), [opened](Built::open) and run; a signal tells
//! all runs of the process to stop; what came of it is the exit code.

mod attend;
mod build;
mod control;
mod ends;
pub(crate) mod exit;
pub(crate) mod health;
mod notify;
mod outcome;
mod outside;
mod places;
#[cfg(target_os = "linux")]
mod reap;
mod restart;
mod seat;
mod signal;
pub(crate) mod stopping;
#[cfg(unix)]
pub(crate) mod supervisor;
pub(crate) mod watch;
mod worker;

#[cfg(test)]
pub(crate) mod fake;

pub(crate) use attend::attend;
pub(crate) use build::{Built, Opened, Plan, Reach, Slots};
pub(crate) use control::{Control, Obeying};
pub(crate) use ends::Checked;
pub(crate) use exit::Exit;
pub(crate) use outcome::Outcome;
pub(crate) use places::Places;
pub(crate) use seat::WorkerIdentity;
pub(crate) use signal::Signal;
use signal::arriving;
pub(crate) use worker::{Crewed, Finished, open_all, runtime};
