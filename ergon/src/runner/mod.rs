//! Runs tasks: builds them from their configs, opens their connectors and services, runs them, and shuts down
//! gracefully.
//!
//! A [`Plan`] is a task with its effective policies. It is [built](Plan::build), [opened](Built::open) and run. A
//! signal stops all runs of the process. Their [`Outcome`] decides the exit code.

mod build;
mod check;
mod conflicts;
mod control;
pub(crate) mod exit;
pub(crate) mod health;
mod identity;
mod monitor;
mod notify;
mod outcome;
#[cfg(target_os = "linux")]
mod reap;
mod resource;
mod restart;
mod signal;
pub(crate) mod stopping;
#[cfg(unix)]
pub(crate) mod supervisor;
pub(crate) mod watch;
mod worker;

#[cfg(test)]
pub(crate) mod fake;

pub(crate) use build::{Built, Opened, Plan, Reach, Slots};
pub(crate) use check::Checked;
pub(crate) use conflicts::Endpoints;
pub(crate) use control::{Control, Obeying};
pub(crate) use exit::Exit;
pub(crate) use identity::WorkerIdentity;
pub(crate) use monitor::monitor;
pub(crate) use outcome::Outcome;
pub(crate) use signal::Signal;
use signal::arriving;
pub(crate) use worker::{Finished, Supervised, open_all, runtime};
