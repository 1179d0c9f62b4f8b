//! How a run stops: fetch no more, hand back what has not begun, let the rest finish within the grace, then cancel it.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::consume::RunState;
use crate::connector::ConnectorError;
use crate::error::{Error, ErrorKind};
use crate::telemetry::Ended;
use crate::telemetry::event::Stopping;
use crate::transaction::TransactionError;

/// Tells all that belongs to a loop to fetch no more, to wait for no further attempt, and to finish what is in flight.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    order: CancellationToken,
    /// Why the run cannot go on, if a connector is gone.
    gone: Arc<OnceLock<String>>,
}

impl Drain {
    /// One that is ordered by this token.
    pub(super) fn by(order: CancellationToken) -> Self {
        Self { order, gone: Arc::default() }
    }

    /// Orders it if the error says that a connector is gone; says whether it does.
    pub(super) fn is_ordered_by(&self, error: &TransactionError) -> bool {
        let gone = error.downcast_ref::<ConnectorError>().filter(|error| error.is_closed());
        if let Some(gone) = gone {
            self.gone.get_or_init(|| gone.message().to_owned());
            self.order.cancel();
        }
        gone.is_some()
    }

    /// Why the run cannot go on, if a connector is gone.
    pub(super) fn gone(&self) -> Option<Error> {
        let message = self.gone.get()?;
        Some(Error::new(ErrorKind::Connector, message).with_hint("what was not taken by then was given back"))
    }
}

impl Deref for Drain {
    type Target = CancellationToken;

    fn deref(&self) -> &CancellationToken {
        &self.order
    }
}

/// What made a run drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Stop,
    TimeLimit,
}

/// Waits for the run to be told to stop, or for its time limit; drains it, and cancels what is left after the grace.
/// Never returns by itself: the run ends when its lanes do.
pub(super) async fn watch(run: &RunState) {
    let limit = run.terms.policy.timeout.and_then(|limit| Instant::now().checked_add(limit));
    let over = async {
        match limit {
            Some(limit) => sleep_until(limit).await,
            None => std::future::pending().await,
        }
    };
    let cause = tokio::select! {
        biased;
        () = run.terms.drain.cancelled() => {
            run.terms.drain.gone().into_iter().for_each(|gone| run.slots.close(Some(gone)));
            Cause::Stop
        }
        () = over => Cause::TimeLimit,
        () = run.threads.all_stuck() => {
            run.slots.close(Some(all_stuck(run)));
            Cause::Stop
        }
    };
    run.note_drain(cause);
    run.terms.drain.cancel();
    let (in_flight, grace) = (run.slots.load().running, run.terms.policy.shutdown_grace);
    Stopping { task: run.task, in_flight, grace }.emit();
    run.slots.close(None);
    sleep(grace).await;
    run.abort.cancel();
    std::future::pending::<()>().await;
}

/// Why a run that is over ended.
pub(super) fn ended(run: &RunState) -> Ended {
    let left = left(run);
    if let Some(failure) = run.slots.take_failure() {
        return Ended::Failed(failure);
    }
    match run.drained() {
        Some(Cause::Stop) => Ended::Stopped { given_back: left },
        Some(Cause::TimeLimit) if left > 0 => Ended::Failed(time_limit(run, left)),
        Some(Cause::TimeLimit) => Ended::TimeLimit,
        None if run.slots.limit_reached() => Ended::LimitReached,
        None => Ended::SourceEmpty,
    }
}

/// How many are left to do: given back to the source, or made by the task's stream and not produced.
fn left(run: &RunState) -> u64 {
    match &run.pulled {
        Some(pulled) => pulled.close(run.task),
        None => run.slots.given_back(),
    }
}

fn all_stuck(run: &RunState) -> Error {
    let count = run.terms.policy.concurrency;
    let message = format!("all {count} threads are stuck in handlers that exceeded their limits");
    Error::new(ErrorKind::Task, message).with_hint(
        "give what they wait for a limit of its own, or ask `transaction.is_cancelled()` in long work",
    )
}

fn time_limit(run: &RunState, left: u64) -> Error {
    let limit = crate::policy::duration::display(run.terms.policy.timeout.unwrap_or_default());
    let message = format!("the run's time limit of {limit} ran out with {left} transactions left to do");
    let became = match run.pulled {
        Some(_) => {
            "the stream had made them, and nothing gives them back; raise `timeout` or `shutdown_grace`"
        }
        None => "they were given back; raise `timeout`, or run again",
    };
    Error::new(ErrorKind::LoopTimeout, message).with_hint(became)
}
