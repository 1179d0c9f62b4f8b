//! `run`: runs tasks until their sources are empty, or until stopped.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::BoxStream;

use crate::cli::args::{Format, Run};
use crate::cli::output::Output;
use crate::cli::progress::{Progress, Watched};
use crate::cli::project::Project;
use crate::cli::{summary, words};
use crate::connector::Shard;
use crate::error::{Error, ErrorKind};
use crate::policy::duration::display;
use crate::runner::{Built, Exit, Finished, Opened, Plan, Signal, Signals, arriving, open_all, runtime};
use crate::settings::suggest;
use crate::task::{Monitor, Stop, TaskConfig};
use crate::telemetry::Ended;

/// How long a source may take to say how many there are; a bar without an end is better than a late start.
const COUNT_WITHIN: Duration = Duration::from_secs(5);

/// Runs tasks.
///
/// # Errors
/// A task that is not there, a policy that cannot be obeyed, or no threads to run on.
pub(crate) fn run(project: &Project, run: &Run, format: Format, output: &Output) -> Result<Exit, Error> {
    let (layer, flags) = (run.layer(), run.flags());
    let plans = selected(project, run)?.into_iter().map(|task| project.plan(task, &layer, &flags));
    let plans: Vec<Plan> = plans.collect::<Result<_, _>>()?;
    let mut warnings: Vec<String> = plans.iter().filter_map(Plan::warning).collect();
    warnings.extend(plans.iter().filter_map(|plan| one_process(plan, project)));
    let built = match build(plans, output) {
        Ok(built) => built,
        Err(exit) => return Ok(exit),
    };
    for warning in &warnings {
        output.warn(warning);
    }
    let runtime = runtime().map_err(no_threads)?;
    let (finished, exit) = runtime.block_on(async {
        let signals = arriving().map_err(no_threads)?;
        Ok::<_, Error>(run_all(built, signals, !run.no_progress, output).await)
    })?;
    // A blocking handler that was given up may never return; it must not hold back the end.
    runtime.shutdown_background();
    if format == Format::Json {
        output.data(&format!("{}\n", summary::json(&finished, exit)))?;
    }
    Ok(exit)
}

/// The warning due if a task is meant for more than this one process.
fn one_process(plan: &Plan, project: &Project) -> Option<String> {
    let name = plan.config.name();
    let workers = project.framework.workers(name).unwrap_or(plan.config.outline.workers);
    (workers > 1).then(|| {
        format!(
            "{name}: `workers = {workers}`, but `run` is one process; start the program as often as needed"
        )
    })
}

/// The error of a system that gives no threads, or does not show its signals.
pub(super) fn no_threads(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Task, "the system does not let the program run").with_source(error)
}

/// The tasks that the command line names, each once.
fn selected<'p>(project: &'p Project, run: &Run) -> Result<Vec<&'p TaskConfig>, Error> {
    if run.all {
        return Ok(project.tasks.iter().collect());
    }
    if run.tasks.is_empty() {
        let names = project.tasks.iter().map(TaskConfig::name).chain(["--all"]);
        let names: Vec<String> = names.map(|name| format!("`run {name}`")).collect();
        let error = Error::new(ErrorKind::Usage, "no task is named");
        return Err(error.with_hint(format!("write {}", suggest::list(&names, "or"))));
    }
    let mut found: Vec<&TaskConfig> = Vec::new();
    for name in &run.tasks {
        let task = project.find(name)?;
        if !found.iter().any(|other| other.name() == task.name()) {
            found.push(task);
        }
    }
    Ok(found)
}

/// Builds all tasks; tells of each that cannot be built, and then builds none.
fn build(plans: Vec<Plan>, output: &Output) -> Result<Vec<Built>, Exit> {
    let mut all = Vec::new();
    let mut failed = None;
    for plan in plans {
        match plan.build(Shard::default()) {
            Ok(built) => all.push(built),
            Err(error) => {
                output.error(&error);
                failed.get_or_insert(Exit::of_error(&error));
            }
        }
    }
    failed.map_or(Ok(all), Err)
}

/// Opens, runs and closes all tasks.
async fn run_all(
    built: Vec<Built>,
    arriving: BoxStream<'static, Signal>,
    progress: bool,
    output: &Output,
) -> (Vec<Finished>, Exit) {
    let stop = Stop::default();
    let monitors: Vec<Monitor> = built.iter().map(|_| Monitor::default()).collect();
    let signals = obey(arriving, &built, &monitors, &stop, output);
    let opened = tokio::select! {
        opened = open_all(built) => opened,
        () = stop.drain.cancelled() => return (Vec::new(), Exit::of_runs(&[], signals.first())),
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(errors) => {
            for error in &errors {
                output.error(error);
            }
            return (Vec::new(), Exit::of_errors(&errors));
        }
    };
    let watched = join_all(opened.iter().zip(&monitors).map(|(task, monitor)| watched(task, monitor))).await;
    let progress = (progress && !output.quiet()).then(|| Progress::start(output, watched));
    let kept: Vec<bool> = opened.iter().map(Opened::dead_letters).collect();
    let runs = opened.into_iter().zip(monitors).map(|(task, monitor)| task.run_apart(stop.clone(), monitor));
    let finished: Vec<Finished> = join_all(runs).await;
    if let Some(progress) = progress {
        progress.finish();
    }
    finished.iter().zip(kept).for_each(|(finished, kept)| tell(finished, kept, output));
    let exit = Exit::of_runs(&finished, signals.first());
    (finished, exit)
}

/// Obeys signals from now on, and tells the user what the first one does.
fn obey(
    arriving: BoxStream<'static, Signal>,
    built: &[Built],
    monitors: &[Monitor],
    stop: &Stop,
    output: &Output,
) -> Signals {
    let grace = built.iter().map(|task| task.policies.grace()).max().unwrap_or_default();
    let (talk, bars, monitors) = (output.clone(), output.clone(), monitors.to_vec());
    let on_first = move |_| {
        let in_flight: usize = monitors.iter().map(|monitor| monitor.snapshot().in_flight).sum();
        let (in_flight, grace) = (words::count(in_flight as u64), display(grace));
        talk.talk(&format!(
            "stopping: draining {in_flight} in flight (up to {grace}); press Ctrl-C again to stop at once\n"
        ));
    };
    let on_second = move |signal| {
        // The terminal is given back clean; if that fails there is nothing left to do.
        let _ = bars.bars().clear();
        Exit::Stopped(signal).now()
    };
    Signals::obey(arriving, stop.clone(), on_first, on_second)
}

/// What the progress shows of a task; asks the source how many there are.
async fn watched(task: &Opened, monitor: &Monitor) -> Watched {
    let policy = task.policies.consumer.as_ref();
    let pending = match task.input() {
        Some(input) => {
            tokio::time::timeout(COUNT_WITHIN, input.count()).await.ok().and_then(Result::ok).flatten()
        }
        None => None,
    };
    let (streaming, limit) = policy.map_or((true, None), |policy| (policy.streaming, policy.limit));
    let total = pending.filter(|_| !streaming).map(|pending| pending.min(limit.unwrap_or(u64::MAX)));
    Watched { task: task.name, total, monitor: monitor.clone() }
}

/// Tells what a run came to.
fn tell(finished: &Finished, dead_letter: bool, output: &Output) {
    output.talk(&summary::text(&finished.report, dead_letter));
    if let Ended::Failed(error) = &finished.report.ended {
        output.error(error);
    }
    for error in &finished.close_errors {
        output.error(error);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;
    use crate::cli::output::captured::Captured;
    use crate::connector::memory::MemoryQueue;
    use crate::policy::ConsumerPolicy;
    use crate::runner::fake::price_orders;
    use crate::transaction::Transaction;

    #[tokio::test]
    async fn a_signal_drains_and_is_the_exit_code() {
        // The fake waits at 99 until it is told to stop.
        let queue = MemoryQueue::named("signal");
        queue.extend([2, 99].map(|number: u64| Transaction::new(number.to_string(), &number).unwrap()));
        let config = price_orders("signal", ConsumerPolicy::DEFAULT);
        let policies = config.outline.policies.clone();
        let plan = Plan { config, policies };
        let built = vec![plan.build(Shard::default()).unwrap()];
        let fetched = async move {
            while queue.inspect().handed_out == 0 {
                tokio::task::yield_now().await;
            }
            Signal::Interrupt
        };
        let captured = Captured::default();
        let arriving = stream::once(fetched).boxed();
        let (finished, exit) = run_all(built, arriving, true, &captured.output(false)).await;
        assert_eq!((finished[0].report.tally.processed, exit), (2, Exit::Stopped(Signal::Interrupt)));
        let told = captured.talk.text();
        let stopping = "stopping: draining 1 in flight (up to 25s); press Ctrl-C again to stop at once\n";
        assert!(told.starts_with(stopping) && told.contains("; stopped\n"), "{told}");
    }
}
