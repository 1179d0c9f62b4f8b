//! Implements the roles in which a task runs: consumer, producer, hybrid, and their blocking forms.

mod blocking;
mod consumer;
mod hybrid;
mod producer;

use serde_json::Value;

pub(super) use blocking::{Blocking, Consumes, Produces};
pub(super) use consumer::Consuming;
pub(super) use hybrid::Hybrid;
pub(super) use producer::Producing;

/// Converts the output of the first step to the JSON that `process-transaction` shows.
pub(super) type Show<O> = fn(&O) -> Option<Value>;

/// Shows nothing.
pub(super) fn nothing<O>(_: &O) -> Option<Value> {
    None
}
