//! The traits that you implement, and [`TaskConfig`], which holds a task with its wiring.
//!
//! | trait | the task |
//! |---|---|
//! | [`Consumer`], [`BlockingConsumer`] | processes the transactions of a source |
//! | [`Producer`], [`BlockingProducer`] | produces transactions from a stream or an iterator |
//! | [`Consumer`] and [`Producer`] | a hybrid: produces several transactions from each one that it consumes |
//! | [`Execute`](crate::execute::Execute) | runs its loops itself |
//!
//! `#[ergon::task]` adds the fields for connectors, services and policies to the struct, and makes a [`TaskConfig`]
//! from a wiring. The runner builds the task from the config.

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

/// Business logic with a name; `#[ergon::task]` implements this trait.
///
/// ```
/// use ergon::prelude::*;
/// use ergon::task::Task;
///
/// #[ergon::task(connectors(input))]
/// struct PriceOrders;
///
/// impl Consumer for PriceOrders {
///     type Payload = Value;
///     type Output = ();
///
///     async fn process_transaction(&self, _: &Transaction<Value>) -> Result<()> {
///         Ok(())
///     }
/// }
///
/// assert_eq!(PriceOrders::NAME, "price-orders");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task",
    label = "this type does not implement `Task`",
    note = "add `#[ergon::task(connectors(input), consumer())]` to the struct"
)]
pub trait Task: Sized + Send + Sync + 'static {
    /// The name in the command line, the settings, logs and metrics, in kebab-case.
    const NAME: &'static str;
}
