//! Defines the command line of `ergon`, and parses it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, Subcommand};

/// Creates Ergon projects, and adds tasks, connectors and services to them
#[derive(Debug, Parser)]
#[command(
    name = "ergon",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  ergon new my-app --ergon-path ~/ergon/ergon\n  cd my-app && cargo run -- run example-task\n  ergon generate task price-orders"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands of `ergon`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a project that compiles, runs on a sample file and passes its tests
    #[command(
        visible_aliases = ["init", "bootstrap"],
        after_help = "Examples:\n  ergon new my-app --ergon-path ~/ergon/ergon            creates the folder my-app\n  ergon new my-app work/app --ergon-path ~/ergon/ergon   creates another folder\n  ergon new . --ergon-path ~/ergon/ergon                 fills the current folder\n\nErgon is in no registry yet: name its source with --ergon-path or --ergon-git.\n\nNo file is ever overwritten: if one of the files exists, nothing is written."
    )]
    New(New),
    /// Add a task, a connector or a service to a project
    #[command(
        subcommand,
        visible_alias = "g",
        after_help = "Examples:\n  ergon generate task price-orders\n  ergon generate connector acme-api\n  ergon generate service crm\n\nNo file is ever overwritten: if one of the files exists, nothing is written."
    )]
    Generate(Generate),
    /// Print completions for a shell to standard output
    #[command(
        after_help = "Example:\n  ergon completions bash > ~/.local/share/bash-completion/completions/ergon"
    )]
    Completions {
        /// The shell that the completions are for
        shell: clap_complete::Shell,
    },
    /// Print the manual page to standard output
    #[command(after_help = "Example:\n  ergon man > ~/.local/share/man/man1/ergon.1")]
    Man,
}

/// `new`
#[derive(Debug, Args)]
pub(crate) struct New {
    /// The name of the project, such as `my-app`; `.` for the current folder and its name
    pub(crate) project: String,
    /// The folder of the project [default: the name of the project]
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) from: From,
}

/// The source of the crate `ergon` for the project.
#[derive(Debug, Default, Args)]
#[group(multiple = false)]
pub(crate) struct From {
    /// Use the crate `ergon` in this folder: `ergon` in the repository
    #[arg(long, value_name = "FOLDER")]
    pub(crate) ergon_path: Option<PathBuf>,
    /// Use the crate `ergon` from this git repository
    #[arg(long, value_name = "URL")]
    pub(crate) ergon_git: Option<String>,
}

/// `generate`
#[derive(Debug, Subcommand)]
pub(crate) enum Generate {
    /// Add a task, registered and wired to its own sample files
    Task(Named),
    /// Add a connector: an adapter that tasks fetch from and dispatch to
    Connector(Named),
    /// Add a service: a client that tasks call
    Service(Named),
}

/// The name of the generated part.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The name, such as `price-orders` or `price_orders`
    pub(crate) name: String,
    /// The folder of the project [default: the current folder, or the nearest one above it with an ergon.toml]
    #[arg(long, value_name = "DIR")]
    pub(crate) project: Option<PathBuf>,
}

/// The commands of a project's own program.
const OF_PROJECTS: [&str; 7] =
    ["list", "run", "process-transaction", "process-transaction-by-id", "check", "dead-letters", "describe"];

/// Adds the closest command to the error of an unknown one, or says that the command belongs to the project's own program.
pub(crate) fn suggest(error: clap::Error, command: &clap::Command, written: &[OsString]) -> clap::Error {
    let mut error = ergon::__private::suggest_command(error, command, written);
    let wrong = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(wrong)) => wrong.clone(),
        _ => return error,
    };
    if OF_PROJECTS.contains(&wrong.as_str()) {
        let tip = format!("`{wrong}` is a command of your project: cargo run -- {wrong}");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The help, wrapped for a terminal of this width.
    fn help(words: &[&str], width: usize) -> String {
        let mut command = Arguments::command().term_width(width);
        command.build();
        let inner =
            words.iter().fold(&mut command, |command, word| command.find_subcommand_mut(word).unwrap());
        inner.render_long_help().to_string()
    }

    #[test]
    fn help_of_each_command() {
        insta::assert_snapshot!("wide", help(&[], 100));
        insta::assert_snapshot!("narrow", help(&[], 40));
        insta::assert_snapshot!("new", help(&["new"], 100));
        insta::assert_snapshot!("generate", help(&["generate"], 100));
        insta::assert_snapshot!("generate_task", help(&["generate", "task"], 100));
    }

    #[test]
    fn an_unknown_command_gets_a_suggestion_or_the_program_that_has_it() {
        for (word, tip) in [
            ("nwe", "a similar subcommand exists: 'new'"),
            ("describe", "`describe` is a command of your project: cargo run -- describe"),
        ] {
            let written = ["ergon", word].map(OsString::from);
            let command = Arguments::command();
            let error = command.clone().try_get_matches_from(&written).unwrap_err();
            let shown = suggest(error, &command, &written).to_string();
            assert!(shown.contains(tip), "{shown}");
        }
    }

    #[test]
    fn every_command_has_an_example() {
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Example"), "{}: {help}", command.get_name());
        }
    }
}
