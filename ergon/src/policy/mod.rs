//! The policies of a task: retries, time limits and concurrency, as plain data that the engine follows. Each layer of
//! the configuration replaces values of the layers before it.
//!
//! | layer, each over the layers before it | example |
//! |---|---|
//! | the task's attribute | `consumer(concurrency = 2)` |
//! | [`TaskConfig`](crate::TaskConfig) | [`consumer`](crate::TaskConfig::consumer), [`producer`](crate::TaskConfig::producer) |
//! | `ergon.toml` and the environment: a [`ConsumerLayer`] or [`ProducerLayer`] | `concurrency = 32` in `[tasks.orders.consumer]` |
//! | the command line | `--concurrency 64` |
//!
//! The crate `ergon-schema` declares every key once. Macros make the structs, their defaults, their checks and the
//! layers from that schema.

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
