//! `ergon`: makes a project, and adds tasks, connectors and services to it.

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
        Err(error) => ergon::__private::suggest_command(error, &command, &written).exit(),
    };
    let done = match arguments.command {
        Command::New(new) => new::new(&new),
        Command::Generate(what) => generate::generate(&what),
        Command::Completions { shell } => Ok(shell::completions(shell)),
        Command::Man => shell::man(),
    };
    match done.and_then(|text| said(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            // When nobody listens, there is nobody to tell.
            let _ = write!(io::stderr(), "{trouble}");
            trouble.exit_code()
        }
    }
}

/// Writes to standard output; that nobody reads on is no error.
fn said(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
