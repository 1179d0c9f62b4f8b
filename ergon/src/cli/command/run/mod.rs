//! `run`: runs tasks until their sources are empty, or until stopped.
//!
//! In this process, unless a task is to have several workers: then every task has processes of its own, and this one
//! supervises them.

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

/// What the command line and the settings ask of a run.
#[derive(Clone, Copy)]
struct Wish<'a> {
    project: &'a Project,
    format: Format,
    progress: bool,
    fail_when: Option<&'a FailWhen>,
    output: &'a Output,
}

/// Runs tasks, or the part of them that a worker has.
///
/// # Errors
/// A task that is not there, an address that is taken, or no threads to run on.
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

/// Tasks that can begin.
struct Ready {
    built: Vec<Built>,
    /// Where those are answered who ask how the process is.
    listener: Option<TcpListener>,
}

/// Builds all tasks; how the process ends if they cannot begin, or are told to stop before.
///
/// # Errors
/// An address that is taken, no threads to run on, or output that cannot be written.
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

/// Processes are forked and watched in a way of Unix.
#[cfg(not(unix))]
mod crew {
    use super::{Error, ErrorKind, Exit, Plan, Wish};

    pub(super) fn run(_: Vec<Plan>, _: &[usize], _: Wish<'_>) -> Result<Exit, Error> {
        let error = Error::new(ErrorKind::Usage, "several workers are not to be had on this system");
        Err(error.with_hint("set `workers = 1`"))
    }
}

/// How many processes run a task: the command line, else the settings, else the task itself says so.
fn workers(plan: &Plan, project: &Project, run: &Run) -> usize {
    let name = plan.config.name();
    let workers =
        run.workers.or_else(|| project.framework.workers(name)).unwrap_or(plan.config.outline.workers);
    usize::try_from(workers).unwrap_or(1).max(1)
}

/// Where what a task rejects goes, and whether a command can show it.
fn kept(built: &Built) -> Kept {
    match built.dead_letter() {
        None => Kept::Nowhere,
        Some((_, connector)) if connector.offers().dead_letters.is_some() => Kept::InSight,
        Some(_) => Kept::OutOfSight,
    }
}

/// Takes the address where this process answers how it is, if the settings name one.
fn health(project: &Project) -> Result<Option<TcpListener>, Error> {
    let framework = &project.framework;
    let listener = framework.runner.health().map(health::bind).transpose();
    listener.map_err(|unheard| framework.health_refused(&unheard.what, unheard.hint))
}

/// Judges the runs, and tells what they came to.
fn conclude(outcome: Outcome, kept: Vec<Kept>, wish: Wish<'_>) -> Result<Exit, Error> {
    let outcome = outcome.judged(wish.fail_when);
    outcome.finished.iter().zip(kept).for_each(|(finished, kept)| tell(finished, kept, wish.output));
    for breach in &outcome.breaches {
        wish.output.error(&summary::breached(breach, None));
    }
    write(&outcome, wish)
}

/// Writes the summary as data, if that is asked for: what the runs came to, or what kept them from beginning.
fn write(outcome: &Outcome, wish: Wish<'_>) -> Result<Exit, Error> {
    let exit = outcome.exit();
    let written = match wish.format {
        Format::Json => wish.output.data(&format!("{}\n", summary::json(outcome))),
        _ => Ok(()),
    };
    match written {
        // That it could not be written changes nothing of why the process ends, if that is no success.
        Err(error) if exit != Exit::Success => {
            wish.output.error(&error);
            Ok(exit)
        }
        written => written.map(|()| exit),
    }
}

/// Tells why nothing can begin.
pub(super) fn refused(errors: &[Error], output: &Output) -> Exit {
    for error in errors {
        output.error(error);
    }
    Exit::of_errors(errors)
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

/// Builds all tasks.
///
/// # Errors
/// All that is wrong with any of them; where there are several, with the task's name.
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
