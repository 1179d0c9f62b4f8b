//! How often, how long, how many: plain data that the engine obeys.
//!
//! A policy is set by the task's attribute, then changed by `TaskConfig`, the settings and the command line, in this
//! order. The settings and the command line are a layer each, over the values before it. `ergon-schema` declares every
//! key once; `schema.rs` makes the structs, their defaults and the layers from it.

pub(crate) mod duration;
mod empty_queue;
mod flags;
mod problem;
mod retry;
mod roles;
mod schema;
pub(crate) mod written;

pub(crate) use ergon_schema::NO_TIME;
pub(crate) use flags::{Flag, Flags};
pub use problem::PolicyProblem;
pub(crate) use roles::{Policies, Role};
#[cfg(feature = "http")]
pub(crate) use schema::RetryLayer;
pub use schema::{
    ConsumerLayer, ConsumerPolicy, EmptyQueuePolicy, Mode, OnHandlerFailure, ProducerLayer, ProducerPolicy,
    RetryPolicy,
};
