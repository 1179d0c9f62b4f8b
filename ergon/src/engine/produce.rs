//! Runs a producer: a stream takes the place of the source, and is pulled only as fast as slots become free.
//!
//! After a stop, the transactions that the stream has made are processed within the grace. Those that are left after
//! the grace are counted, and their ids are logged.

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

/// A producer, and the stream that it produces.
pub(super) trait Pull: Steps {
    /// Pulls the stream for as long as fetches ask for transactions.
    fn pull(self: Arc<Self>, pump: Pump) -> impl Future<Output = ()> + Send;
}

/// A stream as the source of a loop.
pub(super) struct ProducerStream<'a> {
    pub(super) input: Input,
    /// The transactions that the stream has made.
    pub(super) pulled: Arc<dyn Pulled>,
    /// Pulls the stream for as long as fetches ask for transactions.
    pub(super) pull: BoxFuture<'a, ()>,
}

/// Runs the loop of a producer to its end.
///
/// # Cancel safety
/// The same as that of [`consume`].
pub(super) async fn produce(
    role: &Arc<dyn Role>,
    stream: ProducerStream<'_>,
    context: RunContext,
    stop: &Stop,
    monitor: &Monitor,
) -> RunReport {
    let ProducerStream { input, pulled, pull } = stream;
    let task = role.info().task;
    // Also closes the stream when this future is dropped.
    let _closes = Closes { task, pulled: Arc::clone(&pulled) };
    let mut pull = pull;
    let run = RunState::new(task, context, (input, Some(pulled)), stop);
    let never = async {
        pull.as_mut().await;
        std::future::pending().await
    };
    let report = tokio::select! {
        biased;
        // The loop is polled first, so that its request reaches the stream in the same poll.
        report = consume(role, run, monitor) => report,
        never = never => never,
    };
    // The `Drop` of the stream may panic; the panic must not change the outcome of its transactions.
    let _ = panic::guard(|| drop(pull));
    report
}

/// Closes the buffer of a stream when the loop has ended.
struct Closes {
    task: &'static str,
    pulled: Arc<dyn Pulled>,
}

impl Drop for Closes {
    fn drop(&mut self) {
        self.pulled.close(self.task);
    }
}
