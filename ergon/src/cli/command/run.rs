//! `run`: runs tasks until their sources are empty, or until stopped.

use std::time::Duration;

use futures_util::future::join_all;

use crate::cli::args::{Format, Run};
use crate::cli::output::Output;
use crate::cli::progress::{Progress, Watched};
use crate::cli::project::Project;
use crate::cli::{summary, words};
use crate::connector::Shard;
use crate::error::{Error, ErrorKind};
use crate::runner::{Built, Exit, Finished, Opened, Plan, Signals, open_all, runtime};
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
    let warnings: Vec<String> = plans.iter().filter_map(Plan::warning).collect();
    let Some(built) = build(plans, output) else { return Ok(Exit::Usage) };
    warnings.iter().for_each(|warning| output.warn(warning));
    let runtime = runtime().map_err(no_threads)?;
    let ended = runtime.block_on(run_all(built, !run.no_progress, output));
    // A blocking handler that was given up may never return; it must not hold back the end.
    runtime.shutdown_background();
    let (finished, exit) = ended?;
    if format == Format::Json {
        output.data(&format!("{}\n", summary::json(&finished, exit)))?;
    }
    Ok(exit)
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
fn build(plans: Vec<Plan>, output: &Output) -> Option<Vec<Built>> {
    let mut all = Vec::new();
    let mut failed = false;
    for plan in plans {
        match plan.build(Shard::default()) {
            Ok(built) => all.push(built),
            Err(error) => {
                output.error(&error);
                failed = true;
            }
        }
    }
    (!failed).then_some(all)
}

/// Opens, runs and closes all tasks.
async fn run_all(built: Vec<Built>, progress: bool, output: &Output) -> Result<(Vec<Finished>, Exit), Error> {
    let stop = Stop::default();
    let monitors: Vec<Monitor> = built.iter().map(|_| Monitor::default()).collect();
    let signals = listen(&built, &monitors, &stop, output).map_err(no_threads)?;
    let opened = tokio::select! {
        opened = open_all(built) => opened,
        () = stop.drain.cancelled() => return Ok((Vec::new(), Exit::of_runs(&[], signals.first()))),
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(errors) => {
            errors.iter().for_each(|error| output.error(error));
            return Ok((Vec::new(), Exit::Failure));
        }
    };
    let watched = join_all(opened.iter().zip(&monitors).map(|(task, monitor)| watched(task, monitor))).await;
    let progress = (progress && !output.quiet()).then(|| Progress::start(output, watched));
    let kept: Vec<bool> = opened.iter().map(|task| task.dead_letter.is_some()).collect();
    let runs =
        opened.into_iter().zip(monitors).map(|(task, monitor)| tokio::spawn(task.run(stop.clone(), monitor)));
    let finished: Vec<Finished> = join_all(runs).await.into_iter().flatten().collect();
    if let Some(progress) = progress {
        progress.finish();
    }
    finished.iter().zip(kept).for_each(|(finished, kept)| tell(finished, kept, output));
    let exit = Exit::of_runs(&finished, signals.first());
    Ok((finished, exit))
}

/// Obeys signals from now on, and tells the user what the first one does.
fn listen(built: &[Built], monitors: &[Monitor], stop: &Stop, output: &Output) -> std::io::Result<Signals> {
    let grace = built.iter().map(|task| task.policy.shutdown_grace).max().unwrap_or_default();
    let (talk, bars, monitors) = (output.clone(), output.clone(), monitors.to_vec());
    let on_stop = move |_| {
        let in_flight: usize = monitors.iter().map(|monitor| monitor.snapshot().in_flight).sum();
        talk.talk(&format!(
            "stopping: draining {} in flight (up to {}); press Ctrl-C again to stop at once\n",
            words::count(in_flight as u64),
            crate::policy::duration::display(grace)
        ));
    };
    let on_exit = move || {
        // The terminal is given back clean; if that fails there is nothing left to do.
        let _ = bars.bars().clear();
    };
    Signals::listen(stop.clone(), on_stop, on_exit)
}

/// What the progress shows of a task; asks the source how many there are.
async fn watched(task: &Opened, monitor: &Monitor) -> Watched {
    let counted = tokio::time::timeout(COUNT_WITHIN, task.input.count()).await;
    let pending = counted.ok().and_then(Result::ok).flatten().filter(|_| !task.policy.streaming);
    let total = pending.map(|pending| pending.min(task.policy.limit.unwrap_or(u64::MAX)));
    Watched { task: task.name, total, monitor: monitor.clone() }
}

/// Tells what a run came to.
fn tell(finished: &Finished, dead_letter: bool, output: &Output) {
    output.talk(&summary::text(&finished.report, dead_letter));
    if let Ended::Failed(error) = &finished.report.ended {
        output.error(error);
    }
    finished.close_errors.iter().for_each(|error| output.error(error));
}
