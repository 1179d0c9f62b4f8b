//! Runs a loop: its lanes, its settler and the redelivery of its dead letters.

use std::sync::Arc;

use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::blocking::on_threads;
use super::lane::Lane;
use super::redeliver::{self, redeliver};
use super::role::Role;
use super::run_state::{RunGuard, RunState};
use super::settle::settle;
use super::stop;
use crate::connector::Buffers;
use crate::error::{Error, ErrorKind};
use crate::policy::ConsumerPolicy;
use crate::task::Monitor;
use crate::telemetry::event::{LaneDied, RunStarted};
use crate::telemetry::{Ended, RunReport};
use crate::transaction::panic;

/// Runs a loop to its end.
///
/// # Cancel safety
/// When dropped, all lanes are dropped too. Their deliveries are given back by the next settlement of the source.
pub(super) async fn consume(role: &Arc<dyn Role>, run: RunState, monitor: &Monitor) -> RunReport {
    panic::install_hook();
    let run = Arc::new(run);
    draw(&run);
    let looked_at = Arc::clone(&run);
    let _looked = monitor.attach_loop(move || looked_at.snapshot());
    let ConsumerPolicy { concurrency, batch_size, streaming, .. } = run.context.policy;
    run.watch_levels();
    RunStarted { task: run.task, concurrency, batch_size, streaming }.emit();
    let began = Instant::now();

    tokio::select! {
        // Only the lanes end the run. The stop is polled first, so that it takes effect before they continue.
        biased;
        () = stop::watch(&run) => (),
        () = watch_abort(&run) => (),
        () = run_lanes(role, &run) => (),
    }
    let ended = stop::ended(&run);
    if let Some(trace) = &run.context.trace {
        trace.end(if let Ended::Failed(error) = &ended { Some(error) } else { None });
    }
    RunReport::new(run.task, run.snapshot().tally, began.elapsed(), ended)
}

/// Starts to draw on a limit that other workers draw on too.
fn draw(run: &Arc<RunState>) {
    let Some((quota, limit)) = run.context.quota.as_ref().zip(run.context.policy.limit) else { return };
    let granted = Arc::downgrade(run);
    let on_grant = move |grant| {
        granted.upgrade().into_iter().for_each(|run: Arc<RunState>| run.slots.apply_grant(grant));
    };
    run.slots.draw_on(|| quota.draw(limit, Box::new(on_grant)));
}

/// Cancels the lanes when the grace of a stop is over. Never returns: the run ends when its lanes do.
async fn watch_abort(run: &RunState) {
    run.abort.cancelled().await;
    run.slots.abandon();
    run.aborted.order();
    std::future::pending::<()>().await;
}

/// Runs the lanes to their end, then the redelivery, then the settler. The settler is last, because lanes and
/// redelivery hand their deliveries to it.
async fn run_lanes(role: &Arc<dyn Role>, run: &Arc<RunState>) {
    let (lanes_ended, all_ended) = (CancellationToken::new(), CancellationToken::new());
    let run = Arc::new(RunGuard::new(Arc::clone(run)));
    let (mut settler, mut dead_letters) = (JoinSet::new(), JoinSet::new());
    let (handed_over, calls) = unbounded_channel();
    // A loop runs once, so the cell is empty.
    let _ = run.handed_over.set(handed_over);
    settler.spawn(settle(Arc::clone(&run), calls, all_ended.clone()));
    if run.context.postponed.is_some() {
        dead_letters.spawn(redeliver(Arc::clone(&run), lanes_ended.clone()));
    }
    let mut lanes = JoinSet::new();
    for number in 0..run.context.policy.concurrency {
        let lane = Arc::clone(role).work(Lane::new(Arc::clone(&run), number));
        let lane = Buffers::around(run.context.buffers.clone(), lane);
        let lane = run.context.calls.clone().within(lane);
        if role.info().blocking {
            lanes.spawn(on_threads(lane, &run.threads));
        } else {
            lanes.spawn(lane);
        }
    }
    join(&run, lanes).await;
    lanes_ended.cancel();
    join(&run, dead_letters).await;
    redeliver::give_back(&run);
    all_ended.cancel();
    join(&run, settler).await;
}

async fn join(run: &RunState, mut tasks: JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            died(run, &error);
        }
    }
}

/// Reports a defect of the engine. The run ends with an error, and the deliveries of the lane are given back.
fn died(run: &RunState, error: &tokio::task::JoinError) {
    let error = error.to_string();
    LaneDied { task: run.task, error: &error }.emit();
    // Also ends a fetch that waits for data.
    run.context.drain.cancel();
    run.slots.close(Some(Error::new(ErrorKind::Task, format!("the engine failed: {error}"))));
}
