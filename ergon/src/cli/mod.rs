//! Implements the command line of a project's program, which `ergon::main!` generates.
//!
//! A command reads the settings, finds its tasks and passes them to the runner. Data goes to standard output, messages go
//! to standard error, and the exit code reports the result.

mod args;
mod command;
mod condition;
mod examples;
mod graph;
mod help;
mod humanize;
mod options;
mod output;
mod policies;
mod progress;
mod project;
mod screen;
mod summary;
mod telemetry;

#[cfg(test)]
mod every_key;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

pub use args::suggest_command;
use args::{Arguments, Command, Format, Global};
use output::Output;
use project::Project;
use telemetry::{Start, Telemetry};

use crate::error::{Error, ErrorKind};
use crate::runner::Exit;
use crate::settings::{Framework, Options};
use crate::task::TaskConfig;

/// The package of a program.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its folder when it was compiled.
    pub manifest_dir: &'static str,
}

/// Reads the settings and wires the tasks.
pub(crate) type Load<'a> = dyn Fn(&Options) -> Result<(Framework, Vec<TaskConfig>), Error> + 'a;

/// Runs a program from its command line to its exit code.
pub(crate) fn main(package: &Package, load: &Load<'_>) -> ExitCode {
    let arguments = match args::parse(package, std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => return not_understood(&error, &Output::of_process(false, args::Colour::Auto)).into(),
    };
    let Global { config, quiet, color, as_worker, .. } = &arguments.global;
    // The output of a worker goes to the terminal of its supervisor.
    let shown = as_worker.as_ref().is_some_and(|identity| identity.colour);
    let output = Output::of_process(*quiet, if shown { args::Colour::Always } else { *color });
    let options = Options::of_process(config.clone(), package.manifest_dir);
    execute(package, &arguments, &output, &|| load(&options)).into()
}

/// Runs a command. Every error is reported, and determines the exit code.
fn execute(
    package: &Package,
    arguments: &Arguments,
    output: &Output,
    load: &dyn Fn() -> Result<(Framework, Vec<TaskConfig>), Error>,
) -> Exit {
    let done = match help::page(package, &arguments.command) {
        // Help needs no settings, and must not fail because of wrong settings.
        Some(page) => output.data(&page).map(|()| Exit::Success),
        None => load().and_then(|(framework, tasks)| {
            // The supervisor of a worker has read the same settings and printed the warnings.
            for warning in framework.ignored.iter().filter(|_| arguments.global.as_worker.is_none()) {
                output.warn(warning);
            }
            let project = Project::new(framework, tasks)?;
            dispatch(package, arguments, output, &project)
        }),
    };
    done.unwrap_or_else(|error| {
        output.error(&error);
        Exit::of_error(&error)
    })
}

fn dispatch(
    package: &Package,
    arguments: &Arguments,
    output: &Output,
    project: &Project,
) -> Result<Exit, Error> {
    let Global { format, .. } = &arguments.global;
    let graph = matches!(format, Format::Mermaid | Format::Dot);
    if graph && !matches!(arguments.command, Command::Describe(_)) {
        let error = Error::new(ErrorKind::Usage, "this command has no graph");
        return Err(error.with_hint("`--format mermaid` and `--format dot` are for `describe`"));
    }
    let telemetry = match worked_on(&arguments.command, project) {
        Some(tasks) => {
            let (global, framework) = (&arguments.global, &project.framework);
            Telemetry::start(&Start { package, global, output, framework, tasks: &tasks })?
        }
        None => Telemetry::default(),
    };
    let exit = match &arguments.command {
        Command::List => command::list::list(project, *format, output),
        Command::Describe(describe) => {
            command::describe::describe(project, describe.task.as_deref(), *format, output)
        }
        Command::Run(run) => {
            let identity = arguments.global.as_worker.as_ref();
            command::run::run(project, (run, identity), *format, output)
        }
        Command::ProcessTransaction(process) => command::process::process(project, process, *format, output),
        Command::ProcessTransactionById(process) => {
            command::process::process_by_id(project, process, *format, output)
        }
        // `execute` has written these before it read the settings.
        Command::Completions { .. } | Command::Man => Ok(Exit::Success),
        Command::Check(check) => command::check::check(project, check.task.as_deref(), *format, output),
        Command::DeadLetters(letters) => {
            command::dead_letters::dead_letters(project, letters, *format, output)
        }
    };
    telemetry.finish();
    exit
}

/// The tasks that a command processes transactions with. Only such a command starts telemetry.
fn worked_on(command: &Command, project: &Project) -> Option<Vec<String>> {
    match command {
        Command::Run(run) if run.all => {
            Some(project.tasks.iter().map(|task| task.name().to_owned()).collect())
        }
        Command::Run(run) => Some(run.tasks.clone()),
        Command::ProcessTransaction(process) => Some(vec![process.task.clone()]),
        Command::ProcessTransactionById(process) => Some(vec![process.task.clone()]),
        Command::DeadLetters(letters) => Some(vec![letters.action.letters().task.clone()]),
        _ => None,
    }
}

/// Prints the error of the command line, or the requested help or version.
fn not_understood(error: &clap::Error, output: &Output) -> Exit {
    let styled = error.render();
    if error.use_stderr() {
        output.write(&if output.colour() { styled.ansi().to_string() } else { styled.to_string() });
        return Exit::Usage;
    }
    match output.data(&styled.to_string()) {
        Ok(()) => Exit::Success,
        Err(error) => Exit::of_error(&error),
    }
}
