//! The producer: a stream takes the place of the source, and is pulled only as fast as slots free up.
//!
//! What the stream has made by the time of a stop is worked on within the grace; what is left after it is counted, and
//! named in the log.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::buffer::{Pulled, Pump};
use super::consume::consume;
use super::role::Role;
use super::run_context::RunContext;
use super::run_state::RunState;
use super::steps::Steps;
use crate::connector::Input;
use crate::task::{Monitor, Stop};
use crate::telemetry::RunReport;
use crate::transaction::panic;

/// A producer, and what it produces.
pub(super) trait Pull: Steps {
    /// Pulls what is to be produced, as long as it is asked to.
    fn pull(self: Arc<Self>, pump: Pump) -> impl Future<Output = ()> + Send;
}

/// A stream as the source of a loop.
pub(super) struct ProducerStream<'a> {
    pub(super) input: Input,
    /// What the stream has made.
    pub(super) pulled: Arc<dyn Pulled>,
    /// Pulls the stream, as long as it is asked to.
    pub(super) pull: BoxFuture<'a, ()>,
}

/// Runs a producer's loop to its end: the source is its stream.
///
/// # Cancel safety
/// As of [`consume`].
pub(super) async fn produce(
    role: &Arc<dyn Role>,
    stream: ProducerStream<'_>,
    context: RunContext,
    stop: &Stop,
    monitor: &Monitor,
) -> RunReport {
    let ProducerStream { input, pulled, pull } = stream;
    let task = role.info().task;
    // Also when this future is dropped.
    let _closes = Closes { task, pulled: Arc::clone(&pulled) };
    let mut pull = pull;
    let run = RunState::new(task, context, (input, Some(pulled)), stop);
    let never = async {
        pull.as_mut().await;
        std::future::pending().await
    };
    let report = tokio::select! {
        biased;
        report = consume(role, run, monitor) => report,
        never = never => never,
    };
    // The stream may panic when it is dropped; that changes nothing of what became of its transactions.
    let _ = panic::guard(|| drop(pull));
    report
}

/// Closes what a stream has made when the loop is gone.
struct Closes {
    task: &'static str,
    pulled: Arc<dyn Pulled>,
}

impl Drop for Closes {
    fn drop(&mut self) {
        self.pulled.close(self.task);
    }
}
