//! What you write: a [`Task`] holds its connectors, services and policies, and says what to do with a transaction.
//!
//! `#[ergon::task]` adds the fields and makes a [`TaskConfig`] of a wiring; the runner assembles the task from it.

mod blocking;
mod config;
mod consumer;
mod outbound;
mod parts;
mod producer;
mod quota;
mod registry;

pub use blocking::{BlockingConsumer, BlockingProducer};
pub use config::TaskConfig;
pub(crate) use config::{Form, Outline, Role, Slot};
pub use consumer::Consumer;
pub use outbound::Outbound;
pub use parts::Parts;
pub(crate) use parts::{Ask, Unbuilt, connector_error, kind_of, service_error};
pub use producer::Producer;
pub(crate) use quota::{Allowance, Claim, Draw, Grant, Mark, Moment, Quota, Want};
pub(crate) use registry::{Monitor, Program, Runnable, Setup, Snapshot, Stop};

/// Business logic with a name; implemented by `#[ergon::task]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task",
    label = "this type does not implement `Task`",
    note = "add `#[ergon::task(connectors(input), consumer())]` to the struct"
)]
pub trait Task: Sized + Send + Sync + 'static {
    /// The name in the command line, logs and metrics, in kebab-case.
    const NAME: &'static str;
}
