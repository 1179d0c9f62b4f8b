//! `run`: runs tasks until their sources are empty, or until a signal stops them.
//!
//! The tasks run in this process. If a task has several workers, every task runs in its own worker processes instead, and
//! this process supervises them.

mod counting;
mod in_process;
mod reporter;
#[cfg(unix)]
mod supervised;
mod worker;

use std::net::TcpListener;
use std::ops::ControlFlow;

use reporter::tell;
pub(super) use reporter::{LATE, of_terminal};

use crate::cli::args::{Format, Run};
use crate::cli::output::Output;
use crate::cli::project::Project;
use crate::cli::summary::{self, Kept};
use crate::connector::Shard;
use crate::error::{Error, ErrorKind};
use crate::runner::{Built, Exit, Obeying, Outcome, Plan, WorkerIdentity, health};
use crate::settings::{FailWhen, suggest};
use crate::task::TaskConfig;

/// The options of a run, from the command line and the settings.
#[derive(Clone, Copy)]
struct Wish<'a> {
    project: &'a Project,
    format: Format,
    progress: bool,
    fail_when: Option<&'a FailWhen>,
    output: &'a Output,
}

/// Runs tasks, or the share of a worker.
///
/// # Errors
/// A task does not exist, the health address is in use, or the runtime does not start.
pub(crate) fn run(
    project: &Project,
    (run, identity): (&Run, Option<&WorkerIdentity>),
    format: Format,
    output: &Output,
) -> Result<Exit, Error> {
    let plans = selected(project, run)?.into_iter().map(|task| project.plan(task, &run.policies.0));
    let plans: Vec<Plan> = plans.collect();
    let progress = !run.no_progress && !output.quiet();
    let fail_when = run.fail_when.as_ref().or_else(|| project.framework.runner.fail_when());
    let wish = Wish { project, format, progress, fail_when, output };
    if let Some(identity) = identity {
        return worker::run(plans, identity, wish);
    }
    let workers: Vec<usize> = plans.iter().map(|plan| workers(plan, project, run)).collect();
    if workers.iter().any(|count| *count > 1) {
        return supervised::run(plans, &workers, wish);
    }
    in_process::run(plans, wish)
}

/// Tasks that are ready to start.
struct Ready {
    built: Vec<Built>,
    /// The address of the health server.
    listener: Option<TcpListener>,
}

/// Builds all tasks. Returns the exit code if they cannot start or are stopped before.
///
/// # Errors
/// The health address is in use, the runtime does not start, or the output cannot be written.
fn ready(
    plans: Vec<Plan>,
    workers: &[usize],
    obeying: &Obeying,
    wish: Wish<'_>,
) -> Result<ControlFlow<Exit, Ready>, Error> {
    let warnings: Vec<String> = plans.iter().filter_map(Plan::warning).collect();
    let shards: Vec<Shard> = workers.iter().map(|count| Shard { index: 0, count: *count }).collect();
    let Some(built) = obeying.build(|| build(plans, shards)).map_err(no_threads)? else {
        return write(&Outcome::stopped(obeying.reason()), wish).map(ControlFlow::Break);
    };
    let built = match built {
        Ok(built) => built,
        Err(errors) => {
            refused(&errors, wish.output);
            return write(&Outcome::refused(errors), wish).map(ControlFlow::Break);
        }
    };
    let listener = health(wish.project)?;
    for warning in &warnings {
        wish.output.warn(warning);
    }
    Ok(ControlFlow::Continue(Ready { built, listener }))
}

/// Supervision of processes needs Unix.
#[cfg(not(unix))]
mod supervised {
    use super::{Error, ErrorKind, Exit, Plan, Wish};

    pub(super) fn run(_: Vec<Plan>, _: &[usize], _: Wish<'_>) -> Result<Exit, Error> {
        let error = Error::new(ErrorKind::Usage, "several workers are not supported on this system");
        Err(error.with_hint("set `workers = 1`"))
    }
}

/// The number of processes of a task: from the command line, else from the settings, else from the task.
fn workers(plan: &Plan, project: &Project, run: &Run) -> usize {
    let name = plan.config.name();
    let workers =
        run.workers.or_else(|| project.framework.workers(name)).unwrap_or(plan.config.outline.workers);
    usize::try_from(workers).unwrap_or(1).max(1)
}

/// The place of the rejected transactions of a task.
fn kept(built: &Built) -> Kept {
    match built.dead_letter() {
        None => Kept::Nowhere,
        Some((_, connector)) if connector.offers().dead_letters.is_some() => Kept::InSight,
        Some(_) => Kept::OutOfSight,
    }
}

/// Binds the address of the health server, if the settings name one.
fn health(project: &Project) -> Result<Option<TcpListener>, Error> {
    let framework = &project.framework;
    let listener = framework.runner.health().map(health::bind).transpose();
    listener.map_err(|unheard| framework.health_refused(&unheard.what, unheard.hint))
}

/// Judges the runs and prints their summaries.
fn conclude(outcome: Outcome, kept: Vec<Kept>, wish: Wish<'_>) -> Result<Exit, Error> {
    let outcome = outcome.judged(wish.fail_when);
    outcome.finished.iter().zip(kept).for_each(|(finished, kept)| tell(finished, kept, wish.output));
    for breach in &outcome.breaches {
        wish.output.error(&summary::breached(breach, None));
    }
    write(&outcome, wish)
}

/// Writes the summary as JSON if the command line asks for it. The summary includes errors that kept runs from starting.
fn write(outcome: &Outcome, wish: Wish<'_>) -> Result<Exit, Error> {
    let exit = outcome.exit();
    let written = match wish.format {
        Format::Json => wish.output.data(&format!("{}\n", summary::json(outcome))),
        _ => Ok(()),
    };
    match written {
        // An exit code that is not a success has priority over an error of the output.
        Err(error) if exit != Exit::Success => {
            wish.output.error(&error);
            Ok(exit)
        }
        written => written.map(|()| exit),
    }
}

/// Reports why nothing can start.
pub(super) fn refused(errors: &[Error], output: &Output) -> Exit {
    for error in errors {
        output.error(error);
    }
    Exit::of_errors(errors)
}

/// The error of a system that starts no threads or delivers no signals.
pub(super) fn no_threads(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Task, "the program cannot start its threads or receive signals").with_source(error)
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

/// Builds all tasks.
///
/// # Errors
/// All errors of all tasks. Where there are several tasks, each error has the task's name.
fn build(plans: Vec<Plan>, shards: Vec<Shard>) -> Result<Vec<Built>, Vec<Error>> {
    let several = plans.len() > 1;
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for (plan, shard) in plans.into_iter().zip(shards) {
        let name = plan.config.name();
        match plan.build(shard) {
            Ok(built) => all.push(built),
            Err(wrong) if several => errors.extend(wrong.into_iter().map(|error| error.of_task(name))),
            Err(wrong) => errors.extend(wrong),
        }
    }
    if errors.is_empty() { Ok(all) } else { Err(errors) }
}
