//! Runs tasks in this process, and watches them from a thread that no handler can block.

use std::net::TcpListener;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;

use super::counting::{next_to, watched};
use super::reporter::Reporter;
use super::{Ready, Wish, conclude, kept, no_threads, ready};
use crate::cli::args::Format;
use crate::cli::summary::Kept;
use crate::error::{Error, ErrorKind};
use crate::policy::duration::Limit;
use crate::runner::health::{self, Look};
use crate::runner::stopping::{Reason, Rules};
use crate::runner::watch::{Subject, Watch};
use crate::runner::{
    Built, Control, Exit, Finished, Obeying, Opened, Outcome, Plan, monitor, open_all, runtime,
};
use crate::task::{Monitor, Quota, Stop};
use crate::telemetry::Ended;

/// The surroundings of a run: its monitoring and its reporter.
pub(super) struct Place {
    pub(super) obeying: Obeying,
    /// The monitor of each run, in the order of the tasks.
    pub(super) monitors: Vec<Monitor>,
    pub(super) reporter: Reporter,
    /// The address of the health server.
    pub(super) listener: Option<TcpListener>,
    /// The settings' limit for a run without progress.
    pub(super) stall_after: Option<Limit>,
}

/// Runs tasks in this process and reports on them.
pub(super) fn run(plans: Vec<Plan>, wish: Wish<'_>) -> Result<Exit, Error> {
    let output = wish.output;
    let (control, arriving) = Control::start().map_err(no_threads)?;
    let reporter = Reporter::Terminal(output.clone(), wish.progress);
    let monitors: Vec<Monitor> = plans.iter().map(|_| Monitor::default()).collect();
    let obeying =
        Obeying::new(control, arriving, Stop::default(), rules(&reporter, &plans, &monitors, wish.format));
    let workers = vec![1; plans.len()];
    let Ready { built, listener } = match ready(plans, &workers, &obeying, wish)? {
        ControlFlow::Continue(ready) => ready,
        ControlFlow::Break(exit) => return Ok(exit),
    };
    let stall_after = wish.project.framework.runner.stall_after();
    let place = Place { obeying, monitors, reporter, listener, stall_after };
    let kept: Vec<Kept> = built.iter().map(kept).collect();
    let runtime = runtime().map_err(no_threads)?;
    let outcome = runtime.block_on(run_all(built, place));
    // An abandoned blocking handler may never return; it must not delay the end of the process.
    runtime.shutdown_background();
    conclude(outcome, kept, wish)
}

/// The rules for a stop of the planned tasks.
pub(super) fn rules(reporter: &Reporter, plans: &[Plan], monitors: &[Monitor], format: Format) -> Rules {
    let grace = plans.iter().map(|plan| plan.policies.grace()).max().unwrap_or_default();
    let names = plans.iter().map(|plan| plan.config.name());
    reporter.rules(grace, names.zip(monitors.iter().cloned()).collect(), format)
}

/// Opens, runs and closes all tasks.
pub(super) async fn run_all(built: Vec<Built>, place: Place) -> Outcome {
    let Obeying { stop, stopping, .. } = &place.obeying;
    let (stop, stopping) = (stop.clone(), stopping.clone());
    let (reporter, monitors) = (place.reporter.clone(), place.monitors.clone());
    let watch = watch(&built, &monitors, &stop, place.stall_after);
    look_after(place, &watch);
    let over = |finished: Vec<Finished>, refused: Vec<Error>| {
        stopping.over();
        Outcome { finished, refused, reason: stopping.reason(), ..Outcome::default() }
    };
    let opened = tokio::select! {
        opened = open_all(built) => opened,
        () = stop.drain.cancelled() => return over(Vec::new(), Vec::new()),
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(errors) => {
            reporter.refused(&errors);
            return over(Vec::new(), errors);
        }
    };
    // This precedes the report that all is open: otherwise the supervisor may be sent another message that the worker starts.
    for task in &opened {
        let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.opened(task.name, &task.connectors());
    }
    let (shown, counting): (Vec<_>, Vec<_>) =
        opened.iter().zip(&monitors).map(|(task, monitor)| watched(task, monitor)).unzip();
    let progress = reporter.started(shown);
    let counting = counting.into_iter().flatten().filter(|_| reporter.shows_progress());
    let counting = join_all(counting.map(|task| task.find_out(|total| reporter.counted(total))));
    let quota = reporter.quota();
    let runs = opened.into_iter().zip(monitors).map(|(task, monitor)| {
        let run = Run { monitor, quota: quota.clone(), watch: &watch, stop: &stop };
        run_one(task, run)
    });
    let mut finished: Vec<Finished> = next_to(join_all(runs), counting).await;
    if let Some(progress) = progress {
        progress.finish();
    }
    if let Some(Reason::Stalled(why)) = stopping.reason() {
        blame(&mut finished, &why);
    }
    over(finished, Vec::new())
}

/// The values that all runs of a process share.
struct Run<'a> {
    monitor: Monitor,
    quota: Option<Arc<dyn Quota>>,
    watch: &'a Mutex<Watch>,
    stop: &'a Stop,
}

/// Runs one of the tasks, and watches it until it ends.
async fn run_one(task: Opened, run: Run<'_>) -> Finished {
    let Run { monitor, quota, watch, stop } = run;
    let name = task.name;
    let finished = task.run_apart(stop.clone(), monitor, quota).await;
    watch.lock().unwrap_or_else(PoisonError::into_inner).over(name);
    finished
}

/// Marks a run that was stopped because it stalled as failed.
fn blame(finished: &mut [Finished], why: &str) {
    let stood_still = |finished: &&mut Finished| why.starts_with(&format!("{}:", finished.report.task));
    for finished in finished.iter_mut().filter(stood_still) {
        let error = Error::new(ErrorKind::Task, why).with_hint(
            "set a time limit for the operation that the handler waits for; `[runner] stall_after` is the limit of a stall",
        );
        finished.report.ended = Ended::Failed(error);
    }
}

fn watch(
    built: &[Built],
    monitors: &[Monitor],
    stop: &Stop,
    stall_after: Option<Limit>,
) -> Arc<Mutex<Watch>> {
    let subjects = built.iter().zip(monitors);
    let subjects = subjects
        .map(|(task, monitor)| Subject::new(task.name, &task.policies, monitor.clone(), stall_after))
        .collect();
    Arc::new(Mutex::new(Watch::new(subjects, stop.clone())))
}

/// Watches the runs from a thread that no handler can block: serves health requests, reports, and stops stalled runs.
fn look_after(place: Place, watch: &Arc<Mutex<Watch>>) {
    let Place { obeying, monitors, reporter, listener, .. } = place;
    let Obeying { control: Control { handle, orders }, stop, .. } = obeying;
    let looked_at = Arc::clone(watch);
    let look: Look = Arc::new(move || looked_at.lock().unwrap_or_else(PoisonError::into_inner).look());
    if let Some(listener) = listener {
        handle.spawn(health::serve(
            listener,
            Arc::clone(&look),
            Arc::new(crate::telemetry::exposition::text),
        ));
    }
    let (watch, drain) = (Arc::clone(watch), stop.drain.clone());
    handle.spawn(monitor(look, drain, move |vitals| {
        reporter.seen(&monitors, vitals);
        if let Some(why) = watch.lock().unwrap_or_else(PoisonError::into_inner).stalled() {
            // The receiver lives as long as the process. Further reasons change nothing.
            let _ = orders.send(Reason::Stalled(why));
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::{StreamExt, stream};
    use tokio::runtime::Handle;
    use tokio::sync::mpsc;

    use super::*;
    use crate::cli::output::captured::Captured;
    use crate::connector::Shard;
    use crate::connector::memory::MemoryQueue;
    use crate::policy::ConsumerPolicy;
    use crate::runner::Signal;
    use crate::runner::fake::price_orders;
    use crate::transaction::Transaction;

    #[tokio::test]
    async fn a_signal_drains_and_is_the_exit_code() {
        // The fake waits at 99 until the run is stopped.
        let queue = MemoryQueue::named("signal");
        queue.extend([2, 99].map(|number: u64| Transaction::new(number.to_string(), &number).unwrap()));
        // The whole process ends when the grace is over, so the grace is longer than all other tests.
        let policy = ConsumerPolicy { shutdown_grace: Duration::from_secs(3600), ..ConsumerPolicy::DEFAULT };
        let plan = Plan::new(price_orders("signal", policy));
        let built = vec![Plan::new(plan.config.clone()).build(Shard::default()).unwrap()];
        let fetched = async move {
            while queue.inspect().handed_out == 0 {
                tokio::task::yield_now().await;
            }
            Reason::Signal(Signal::Interrupt)
        };
        let captured = Captured::default();
        let control = Control { handle: Handle::current(), orders: mpsc::unbounded_channel().0 };
        let reporter = Reporter::Terminal(captured.output(false), true);
        let arriving = stream::once(fetched).chain(stream::pending()).boxed();
        let monitors = vec![Monitor::default()];
        let rules = rules(&reporter, &[plan], &monitors, Format::Text);
        let obeying = Obeying::new(control, arriving, Stop::default(), rules);
        let place = Place { obeying, monitors, reporter, listener: None, stall_after: None };
        let outcome = run_all(built, place).await;
        let processed = outcome.finished[0].report.tally.processed;
        assert_eq!((processed, outcome.exit()), (2, Exit::Stopped(Signal::Interrupt)));
        let text = captured.talk.text();
        let stopping = "stopping: draining 1 in flight (up to 1h); press Ctrl-C again to stop immediately\n";
        assert!(text.starts_with(stopping), "{text}");
    }
}
