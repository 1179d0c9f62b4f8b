//! The command line of `ergon`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Makes Ergon projects, and adds to them
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

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a project that compiles, runs on a sample file and passes its tests
    #[command(
        visible_aliases = ["init", "bootstrap"],
        after_help = "Examples:\n  ergon new my-app --ergon-path ~/ergon/ergon            makes the folder my-app\n  ergon new my-app work/app --ergon-path ~/ergon/ergon   makes it in another folder\n  ergon new . --ergon-path ~/ergon/ergon                 fills the present folder\n\nErgon is in no registry yet: say with --ergon-path or --ergon-git where it is.\n\nNo file is ever overwritten: if one is in the way, nothing is written."
    )]
    New(New),
    /// Add a task, a connector or a service to the project
    #[command(
        subcommand,
        visible_alias = "g",
        after_help = "Examples:\n  ergon generate task price-orders\n  ergon generate connector acme-api\n  ergon generate service crm\n\nNo file is ever overwritten: if one is in the way, nothing is written."
    )]
    Generate(Generate),
    /// Write completions for a shell to standard output
    #[command(
        after_help = "Example:\n  ergon completions bash > ~/.local/share/bash-completion/completions/ergon"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man page to standard output
    #[command(after_help = "Example:\n  ergon man > ~/.local/share/man/man1/ergon.1")]
    Man,
}

/// `new`
#[derive(Debug, Args)]
pub(crate) struct New {
    /// The project's name, such as `my-app`; `.` for the present folder and its name
    pub(crate) project: String,
    /// The folder to make it in [default: the project's name]
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) from: From,
}

/// Where the project gets the crate `ergon` from.
#[derive(Debug, Default, Args)]
#[group(multiple = false)]
pub(crate) struct From {
    /// Take the crate `ergon` from this folder: `ergon` in the repository
    #[arg(long, value_name = "FOLDER")]
    pub(crate) ergon_path: Option<PathBuf>,
    /// Take the crate `ergon` from this git repository
    #[arg(long, value_name = "URL")]
    pub(crate) ergon_git: Option<String>,
}

/// `generate`
#[derive(Debug, Subcommand)]
pub(crate) enum Generate {
    /// Add a task, registered and wired to files of its own
    Task(Named),
    /// Add a connector: an adapter that transactions are fetched from and dispatched to
    Connector(Named),
    /// Add a service: a client that tasks may call
    Service(Named),
}

/// What is generated is called so.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Its name, such as `price-orders` or `price_orders`
    pub(crate) name: String,
    /// The project's folder [default: the present one, or the one above that has an ergon.toml]
    #[arg(long, value_name = "DIR")]
    pub(crate) project: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Help as it is wrapped for a terminal this wide.
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
    fn every_command_has_an_example() {
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Example"), "{}: {help}", command.get_name());
        }
    }
}
