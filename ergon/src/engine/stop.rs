//! Stops a run: it fetches nothing more, gives back the deliveries that were not started, lets the rest finish within
//! the grace, and then cancels what is left.

use tokio::time::{Instant, sleep, sleep_until};

use super::drain::Cause;
use super::run_state::RunState;
use crate::error::{Error, ErrorKind};
use crate::telemetry::Ended;
use crate::telemetry::event::Stopping;

/// Waits for a stop or for the run's time limit. Drains the run, and cancels the transactions that are left after the
/// grace. Never returns: the run ends when its lanes do.
pub(super) async fn watch(run: &RunState) {
    let limit = run.context.policy.timeout.and_then(|limit| Instant::now().checked_add(limit));
    let over = async {
        match limit {
            Some(limit) => sleep_until(limit).await,
            None => std::future::pending().await,
        }
    };
    let cause = tokio::select! {
        // A stop comes first: a run that is stopped at its time limit reports the stop.
        biased;
        () = run.context.drain.cancelled() => {
            run.context.drain.closed().into_iter().for_each(|closed| run.slots.close(Some(closed)));
            Cause::Stop
        }
        () = over => Cause::TimeLimit,
        () = run.threads.all_stuck() => {
            run.slots.close(Some(all_stuck(run)));
            Cause::Stop
        }
    };
    run.note_drain(cause);
    run.context.drain.cancel();
    let (in_flight, grace) = (run.slots.load().running, run.context.policy.shutdown_grace);
    Stopping { task: run.task, in_flight, grace }.emit();
    run.slots.close(None);
    sleep(grace).await;
    run.abort.cancel();
    std::future::pending::<()>().await;
}

/// The reason why a run ended.
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

/// The number of transactions left to do: given back to the source, or made by the task's stream and not produced.
fn left(run: &RunState) -> u64 {
    match &run.pulled {
        Some(pulled) => pulled.close(run.task),
        None => run.slots.given_back(),
    }
}

fn all_stuck(run: &RunState) -> Error {
    let count = run.context.policy.concurrency;
    let message = format!("all {count} threads are stuck in handlers that exceeded their limits");
    Error::new(ErrorKind::Task, message).with_hint(
        "set a time limit on the calls that they wait for, or check `transaction.is_cancelled()` in long work",
    )
}

fn time_limit(run: &RunState, left: u64) -> Error {
    let limit = crate::policy::duration::display(run.context.policy.timeout.unwrap_or_default());
    let message = format!("the run's time limit of {limit} ran out with {left} transactions left to do");
    let became = match run.pulled {
        Some(_) => "a stream takes nothing back, so they are lost; raise `timeout` or `shutdown_grace`",
        None => "they were given back; raise `timeout`, or run again",
    };
    Error::new(ErrorKind::LoopTimeout, message).with_hint(became)
}
