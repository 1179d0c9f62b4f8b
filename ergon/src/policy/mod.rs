//! How often, how long, how many: plain data that the engine obeys.
//!
//! A policy is set by the task's attribute, then changed by `TaskConfig`, the settings and the command line, in this
//! order; each of these is a [`ConsumerLayer`] over what stands.

mod consumer;
pub(crate) mod duration;
mod layer;
mod problem;
mod retry;

pub use consumer::{ConsumerPolicy, EmptyQueuePolicy, Mode, OnHandlerFailure};
pub use layer::ConsumerLayer;
pub use problem::PolicyProblem;
pub use retry::RetryPolicy;
