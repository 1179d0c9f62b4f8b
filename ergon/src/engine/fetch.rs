//! Fetches from the source: one lane at a time fetches for all lanes.

use std::pin::pin;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::attempt::{Attempts, StepResult, Waits, at_once, code};
use super::clock::Alarm;
use super::run_state::RunState;
use super::settle::in_turn;
use crate::connector::{ConnectorError, Delivery, FetchRequest};
use crate::error::{Error, ErrorKind};
use crate::policy::RetryPolicy;
use crate::task::kind_of;
use crate::telemetry::event::{FetchFailed, Fetched};
use crate::transaction::{Category, TransactionError};

/// The waits of a streaming run whose source fails after its fetch policy is used up. The run retries without limit,
/// with up to half a minute between two attempts.
const PATIENCE: RetryPolicy = RetryPolicy {
    backoff: Duration::from_millis(500),
    backoff_cap: Some(Duration::from_secs(30)),
    jitter: 0.2,
    ..RetryPolicy::DEFAULT
};

/// How long a fetch keeps its part of a limit when another worker needs it. A source that has data answers within this
/// time, so that this worker uses the part and does not have to return it.
const KEEPS: Duration = Duration::from_millis(500);
/// The maximum number of doublings of this time: a fetch keeps its part for at most eight and a half minutes.
const LONGEST: u32 = 10;

/// Fetches at most `asked` deliveries for all lanes. Returns when there are deliveries, or when the run must not fetch.
pub(super) async fn fetch(run: &RunState, asked: usize) -> Vec<Delivery> {
    let mut empty = 0_u32;
    let mut failed = 0_u32;
    loop {
        let has_paused = empty > 0 || failed > 0;
        let stopping = run.context.drain.is_cancelled() || (run.pulled.is_some() && run.slots.is_closing());
        // A stream makes nothing more, but the transactions that it has made are still taken.
        run.pulled.iter().filter(|_| stopping).for_each(|pulled| pulled.stop());
        let is_needed = || run.slots.has_ready() || run.slots.is_wanted_back();
        if (stopping && run.pulled.is_none()) || (has_paused && is_needed()) {
            return Vec::new();
        }
        let began = run.context.trace.as_ref().map(|trace| (trace, SystemTime::now()));
        let (asked_at, meters) = (run.context.meters.now(), &run.context.meters);
        match attempt(run, asked).await {
            Ok(Some(deliveries)) if deliveries.is_empty() => {
                Fetched { task: run.task, count: 0, asked_at, meters }.emit();
                if !run.context.policy.streaming {
                    run.slots.dry();
                    return deliveries;
                }
                (empty, failed) = (empty.saturating_add(1), 0);
                pause(run, run.context.policy.empty_queue.wait_after(empty)).await;
            }
            Ok(Some(mut deliveries)) => {
                Fetched { task: run.task, count: deliveries.len(), asked_at, meters }.emit();
                let batch = began.and_then(|(trace, began)| trace.batch(began, deliveries.len()));
                if let Some(batch) = batch {
                    for delivery in &mut deliveries {
                        delivery.receipt_mut().belongs_to(&batch);
                    }
                }
                report(run, asked, deliveries.len()).await;
                return deliveries;
            }
            Ok(None) => return Vec::new(),
            // A source that waited for data until the time limit is empty, not broken. It is asked to wait again.
            Err(failure) if run.context.policy.streaming && failure.category() == Category::Timeout => {
                (empty, failed) = (0, 0);
            }
            Err(failure) => {
                failed = failed.saturating_add(1);
                let Some(wait) = wait_after(run, failed, &failure) else { return Vec::new() };
                pause(run, wait).await;
            }
        }
    }
}

/// The wait after a fetch that failed; `None` if the failure ends the run.
fn wait_after(run: &RunState, failed: u32, failure: &TransactionError) -> Option<Duration> {
    let error = fetch_error(run, failure);
    let ends = !run.context.policy.streaming || failure.category() == Category::Business;
    let wait = PATIENCE.jittered_wait_after(failed, failure.retry_after(), fastrand::f64());
    FetchFailed { task: run.task, error: &error, wait: (!ends).then_some(wait) }.emit();
    if !ends {
        return Some(wait);
    }
    match run.pulled {
        Some(_) => run.slots.fail(error),
        None => run.slots.close(Some(error)),
    }
    None
}

/// Fetches once under the fetch policy. A permanent error counts as a business error, so that it is not retried.
async fn attempt(run: &RunState, asked: usize) -> Result<Option<Vec<Delivery>>, TransactionError> {
    let request = FetchRequest::new(asked).with_batch_size(run.context.policy.batch_size);
    let request = if run.context.policy.streaming { request.waiting() } else { request };
    let (scope, alarm) = (&mut None, &mut Alarm::default());
    let (policy, waits) = (&run.context.policy.fetch, Waits::Unless(&run.context.drain));
    let mut attempts =
        Attempts { meters: &run.context.meters, ..Attempts::new(policy, "fetch", waits, scope, alarm) };
    let (mut running, mut deliveries) = (pin!(None), None);
    let fetch = || async { run.input.fetch_held(&request).await.map_err(categorized) };
    let result = {
        let mut code = code(running.as_mut(), fetch, &mut deliveries);
        let mut fetched = pin!(attempts.run(&mut code));
        match at_once(fetched.as_mut()).await {
            Some(result) => Some(result),
            None => {
                // Before it waits, the lane settles what is finished: the source may wait for that settlement before it
                // has anything to deliver, for example at its prefetch limit.
                in_turn(run).await;
                tokio::select! {
                    // A fetch that is ready at the same moment wins, so that its deliveries are not given back.
                    biased;
                    result = fetched => Some(result),
                    () = run.slots.released.notified(), if !run.slots.is_closing() => None,
                    () = gives_way(run) => None,
                    () = stopped(run) => None,
                }
            }
        }
    };
    match result {
        Some(StepResult::Done) => Ok(deliveries),
        Some(StepResult::Failed(error)) => Err(error),
        Some(StepResult::Interrupted) | None => Ok(None),
    }
}

/// Returns when the fetch is to end because another worker needs its part of the limit. A fetch of a finite run may be
/// about to find its source empty, which ends the run. So it gets twice the time after each fetch in a row that ended
/// early.
async fn gives_way(run: &RunState) {
    run.slots.wanted_back().await;
    let times = if run.context.policy.streaming { 0 } else { run.slots.gave_way().min(LONGEST) };
    tokio::time::sleep(KEEPS.saturating_mul(1 << times)).await;
    run.slots.give_way();
}

/// Reports the fetched deliveries before any of them is started, if other workers draw on the same limit. So the
/// deliveries count even if this process dies immediately afterwards.
async fn report(run: &RunState, asked: usize, came: usize) {
    let Some(mark) = run.slots.report(asked, came) else { return };
    // A supervisor that does not read must not hold up a stop.
    run.context.drain.run_until_cancelled(run.slots.sent(mark)).await;
}

/// Waits until the fetch has to end: immediately when the run stops. A stream ends its fetch itself, within the grace
/// of the stop, because a transaction that it is making at that moment would be lost.
async fn stopped(run: &RunState) {
    run.context.drain.cancelled().await;
    if let Some(pulled) = &run.pulled {
        pulled.stop();
        run.abort.cancelled().await;
    }
}

fn categorized(error: ConnectorError) -> TransactionError {
    let category = if error.is_permanent() { Category::Business } else { Category::System };
    TransactionError::from_error(category, error)
}

fn fetch_error(run: &RunState, failure: &TransactionError) -> Error {
    let connector = failure.downcast_ref::<ConnectorError>();
    let kind = connector.map_or(ErrorKind::Connector, kind_of);
    let error = Error::new(kind, format!("fetch from {}: {failure}", run.input));
    let cause = connector.and_then(std::error::Error::source).map(ToString::to_string);
    let error = match cause {
        Some(cause) => error.with_source(cause),
        None => error,
    };
    match connector.and_then(ConnectorError::hint) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Waits until the time is over, something is given back to the source, or the run stops.
async fn pause(run: &RunState, wait: Duration) {
    in_turn(run).await;
    let until = Instant::now().checked_add(wait);
    let over = async {
        match until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = over => (),
        () = run.slots.refill.notified() => (),
        () = run.slots.released.notified() => (),
        () = gives_way(run) => (),
        () = run.context.drain.cancelled() => (),
    }
}
