//! `ergon`: creates projects, and adds tasks, connectors and services to them.

mod args;
mod edit;
mod error;
mod files;
mod generate;
mod name;
mod new;
mod observability;
mod shell;
mod template;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use args::{Arguments, Command};
use error::CommandError;

fn main() -> ExitCode {
    let written: Vec<OsString> = std::env::args_os().collect();
    let command = Arguments::command();
    let parsed = command
        .clone()
        .try_get_matches_from(&written)
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => args::suggest(error, &command, &written).exit(),
    };
    let done = match arguments.command {
        Command::New(new) => new::new(&new),
        Command::Generate(what) => generate::generate(&what),
        Command::Completions { shell } => Ok(shell::completions(shell)),
        Command::Man => shell::man(),
    };
    match done.and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // An error of standard error cannot be reported anywhere.
            let _ = write!(io::stderr(), "{error}");
            error.exit_code()
        }
    }
}

/// Writes to standard output. A closed pipe is not an error.
fn print(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
