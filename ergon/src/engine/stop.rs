//! How a run stops: fetches no more, gives back what has not begun, lets the rest finish within the grace, then cancels
//! the rest.

use tokio::time::{Instant, sleep, sleep_until};

use super::drain::Cause;
use super::run_state::RunState;
use crate::error::{Error, ErrorKind};
use crate::telemetry::Ended;
use crate::telemetry::event::Stopping;

/// Waits for the run to be told to stop, or for its time limit; drains it, and cancels what is left after the grace.
/// Never returns by itself: the run ends when its lanes do.
pub(super) async fn watch(run: &RunState) {
    let limit = run.context.policy.timeout.and_then(|limit| Instant::now().checked_add(limit));
    let over = async {
        match limit {
            Some(limit) => sleep_until(limit).await,
            None => std::future::pending().await,
        }
    };
    let cause = tokio::select! {
        biased;
        () = run.context.drain.cancelled() => {
            run.context.drain.gone().into_iter().for_each(|gone| run.slots.close(Some(gone)));
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
    let count = run.context.policy.concurrency;
    let message = format!("all {count} threads are stuck in handlers that exceeded their limits");
    Error::new(ErrorKind::Task, message).with_hint(
        "give what they wait for a limit of its own, or ask `transaction.is_cancelled()` in long work",
    )
}

fn time_limit(run: &RunState, left: u64) -> Error {
    let limit = crate::policy::duration::display(run.context.policy.timeout.unwrap_or_default());
    let message = format!("the run's time limit of {limit} ran out with {left} transactions left to do");
    let became = match run.pulled {
        Some(_) => {
            "the stream had made them, and nothing gives them back; raise `timeout` or `shutdown_grace`"
        }
        None => "they were given back; raise `timeout`, or run again",
    };
    Error::new(ErrorKind::LoopTimeout, message).with_hint(became)
}
