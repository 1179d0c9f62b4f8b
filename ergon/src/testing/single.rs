//! Processes one transaction of a task inside a test, without a run, and reports each step.

use serde::Serialize;

use super::run::{build, first};
use crate::error::{Error, ErrorKind};
use crate::task::{Stop, TaskConfig};
use crate::telemetry::SingleReport;
use crate::transaction::{Payload, Transaction};

/// Processes one transaction with this payload, as JSON, under the task's own policies: its steps with their retries
/// and time limits, and the dead-letter connector if it is rejected.
///
/// All connectors and services are opened before and closed after, except a connector that is only a source, because
/// nothing is fetched or settled. The report has the output, the error, the disposition, and the number of attempts of
/// each step. The transaction gets a new id; use [`process_transaction`] for an id of yours.
///
/// A failed transaction is not an error of this function: see [`SingleReport::error`].
///
/// # Errors
/// An impossible policy, a payload that cannot be serialized, or a part that cannot be built, opened or closed.
///
/// ```
/// use ergon::connector::ConnectorError;
/// use ergon::prelude::*;
/// use ergon::testing::{self, Script};
///
/// #[ergon::task(connectors(input, output), consumer(success(max_attempts = 2, backoff = "1m")))]
/// struct Double;
///
/// impl Consumer for Double {
///     type Payload = u32;
///     type Output = u32;
///
///     async fn process_transaction(&self, number: &Transaction<u32>) -> Result<u32> {
///         Ok(number.payload() * 2)
///     }
///
///     async fn handle_process_success(&self, number: &Transaction<u32>, double: &u32) -> Result<()> {
///         self.output_connector.dispatch(number.derive(double)?).await
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let output = Script::new();
/// output.on_dispatch(1, testing::Fault::Fails(ConnectorError::transient("the disk is full")));
/// let config = Double::config(DoubleWiring { input: Script::new(), output: output.clone() });
///
/// let report = testing::process(config, &21).await?;
/// assert_eq!((report.output, report.disposition), (Some(42.into()), Some("ack")));
/// let attempts: Vec<_> = report.steps.iter().map(|step| (step.step.as_str(), step.attempts)).collect();
/// assert_eq!(attempts, [("process", 1), ("success", 2)]);
/// # Ok::<(), ergon::Error>(()) }).unwrap();
/// ```
pub async fn process<P: Serialize + ?Sized>(config: TaskConfig, payload: &P) -> Result<SingleReport, Error> {
    let payload = Payload::json(payload).map_err(|error| {
        Error::new(ErrorKind::Usage, "the payload cannot be serialized as JSON").with_source(error)
    })?;
    process_transaction(config, Transaction::builder().payload(payload).build()).await
}

/// Processes one transaction, as [`process`] does.
///
/// # Errors
/// An impossible policy, or a part that cannot be built, opened or closed.
///
/// ```
/// # use ergon::prelude::*;
/// # use ergon::transaction::Payload;
/// # use ergon::testing::{self, Script};
/// # #[ergon::task(connectors(input), consumer())]
/// # struct Check;
/// # impl Consumer for Check {
/// #     type Payload = u32;
/// #     type Output = ();
/// #     async fn process_transaction(&self, _: &Transaction<u32>) -> Result<()> { Ok(()) }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let line = Transaction::builder().id("line-1").payload(Payload::text("no number")).build();
/// let config = Check::config(CheckWiring { input: Script::new() });
/// let report = testing::process_transaction(config, line).await?;
/// assert_eq!((report.id.as_str(), report.disposition), ("line-1", Some("reject")));
/// assert_eq!(report.error.unwrap().category(), Category::Business);
/// # Ok::<(), ergon::Error>(()) }).unwrap();
/// ```
pub async fn process_transaction(
    config: TaskConfig,
    transaction: Transaction,
) -> Result<SingleReport, Error> {
    let done = build(config)?.process(transaction, false, Stop::default()).await;
    match done.map_err(first)? {
        (Some(report), errors) if errors.is_empty() => Ok(report),
        (_, errors) => Err(first(errors)),
    }
}
