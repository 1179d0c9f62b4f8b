//! How often, how long, how many: plain data that the engine obeys.
//!
//! A policy is set by the task's attribute, then changed by `TaskConfig`, the settings and the command line, in this
//! order; each of these is a [`ConsumerLayer`] or [`ProducerLayer`] over what stands.

mod consumer;
pub(crate) mod duration;
mod layer;
mod problem;
mod producer;
mod retry;
mod roles;
pub(crate) mod written;

pub use consumer::{ConsumerPolicy, EmptyQueuePolicy, Mode, OnHandlerFailure};
#[cfg(feature = "http")]
pub(crate) use layer::RetryLayer;
pub use layer::{ConsumerLayer, ProducerLayer};
pub(crate) use problem::NO_TIME;
pub use problem::PolicyProblem;
pub use producer::ProducerPolicy;
pub use retry::RetryPolicy;
pub(crate) use roles::Policies;
