//! The loop: runs the lanes, the settler and the redelivery of dead letters, and ends when they do.

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
/// When dropped, all lanes are dropped with it, and what they hold is given back by the source's next settle.
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

/// Begins to draw on a limit that other workers draw on too.
fn draw(run: &Arc<RunState>) {
    let Some((quota, limit)) = run.context.quota.as_ref().zip(run.context.policy.limit) else { return };
    let granted = Arc::downgrade(run);
    let heed =
        move |grant| granted.upgrade().into_iter().for_each(|run: Arc<RunState>| run.slots.heed(grant));
    run.slots.draw_on(|| quota.draw(limit, Box::new(heed)));
}

/// Cancels what the lanes wait for when it is to be. Never returns by itself.
async fn watch_abort(run: &RunState) {
    run.abort.cancelled().await;
    run.slots.abandon();
    run.aborted.order();
    std::future::pending::<()>().await;
}

/// Runs the lanes to their end, after them what delivers dead letters, and the settler at last.
async fn run_lanes(role: &Arc<dyn Role>, run: &Arc<RunState>) {
    let (lanes_ended, all_ended) = (CancellationToken::new(), CancellationToken::new());
    let run = Arc::new(RunGuard::new(Arc::clone(run)));
    let (mut settler, mut letters) = (JoinSet::new(), JoinSet::new());
    let (handed_over, calls) = unbounded_channel();
    // It is set once: a loop runs once.
    let _ = run.handed_over.set(handed_over);
    settler.spawn(settle(Arc::clone(&run), calls, all_ended.clone()));
    if run.context.postponed.is_some() {
        letters.spawn(redeliver(Arc::clone(&run), lanes_ended.clone()));
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
    join(&run, letters).await;
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

/// A defect of the engine itself: the run ends with an error; what the lane held is given back.
fn died(run: &RunState, error: &tokio::task::JoinError) {
    let error = error.to_string();
    LaneDied { task: run.task, error: &error }.emit();
    // A fetch that waits for data ends too.
    run.context.drain.cancel();
    run.slots.close(Some(Error::new(ErrorKind::Task, format!("the engine failed: {error}"))));
}
