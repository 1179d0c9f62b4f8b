//! How you drive it: the command line of a project's own program, which `ergon::main!` makes.
//!
//! A command reads the settings, finds its tasks, and hands them to the runner. Data goes to standard output, talk to
//! standard error, and the exit code says how it went.

mod args;
mod command;
mod graph;
mod output;
mod policies;
mod progress;
mod project;
mod summary;
mod words;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use args::{Arguments, Command, Format, Global};
use output::Output;
use project::Project;

use crate::error::{Error, ErrorKind};
use crate::runner::{Exit, Seat};
use crate::settings::{Framework, Options};
use crate::task::TaskConfig;
use crate::telemetry::logs::{self, LogOptions};

/// The package a program was made from.
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
    // What a worker says ends on the terminal of its supervisor.
    let shown = as_worker.as_ref().is_some_and(|seat| seat.colour);
    let output = Output::of_process(*quiet, if shown { args::Colour::Always } else { *color });
    let options = Options::of_process(config.clone(), package.manifest_dir);
    execute(package, &arguments, &output, &|| load(&options)).into()
}

/// Runs a command; whatever goes wrong is told, and becomes the exit code.
fn execute(
    package: &Package,
    arguments: &Arguments,
    output: &Output,
    load: &dyn Fn() -> Result<(Framework, Vec<TaskConfig>), Error>,
) -> Exit {
    let done = load().and_then(|(framework, tasks)| {
        let project = Project::new(framework, tasks)?;
        dispatch(package, arguments, output, &project)
    });
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
    if graph && !matches!(arguments.command, Command::Describe) {
        let error = Error::new(ErrorKind::Usage, "this command has no graph to show");
        return Err(error.with_hint("`--format mermaid` and `--format dot` belong to `describe`"));
    }
    match &arguments.command {
        Command::List => command::list::list(project, *format, output),
        Command::Describe => command::describe::describe(project, *format, output),
        Command::Run(run) => {
            start_logs(package, &arguments.global, output, &project.framework)?;
            let seat = arguments.global.as_worker.as_ref();
            command::run::run(project, (run, seat), *format, output)
        }
        Command::ProcessTransaction(process) => {
            start_logs(package, &arguments.global, output, &project.framework)?;
            command::process::process(project, process, *format, output)
        }
    }
}

/// Starts the logs: the command line says from which level on, else the environment, else the settings.
fn start_logs(
    package: &Package,
    global: &Global,
    output: &Output,
    framework: &Framework,
) -> Result<(), Error> {
    let filter = match framework.log_level(global.log_level.as_deref()) {
        None => logs::lenient_filter(if output.quiet() { "warn" } else { "info" }),
        Some(level) if level.lenient => logs::lenient_filter(&level.directives),
        Some(level) => logs::filter(&level.directives).map_err(|reason| level.refused(&reason))?,
    };
    let telemetry = &framework.telemetry;
    let service = telemetry.service_name.clone().unwrap_or_else(|| package.name.to_owned());
    let worker = global.as_worker.as_ref().and_then(Seat::worker);
    let options = LogOptions { format: telemetry.format, colour: output.colour(), service, worker };
    let output = output.clone();
    logs::install(filter, options, move |line| output.write(line));
    Ok(())
}

/// Tells what is wrong with the command line, or what was asked for: help, or the version.
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
