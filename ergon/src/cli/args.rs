//! The command line: what can be written, and what it means.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use super::condition::Condition;
use super::options::{PolicyOptions, whole};
use super::{Package, examples};
use crate::runner::WorkerIdentity;
use crate::settings::{FailWhen, suggest};

/// Runs the tasks of this project
#[derive(Debug, Parser)]
#[command(disable_help_subcommand = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The heading of the options of every command.
const GLOBAL: &str = "Global options";

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Read the settings from this file [default: ergon.toml]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Write log lines from this level on, or by directives such as `warn,my_crate=debug` [default: info]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// Show no progress and no summary; only warnings and errors
    #[arg(long, short, global = true, help_heading = GLOBAL)]
    pub(crate) quiet: bool,
    /// How data is written to standard output; graphs are for `describe`
    #[arg(long, global = true, help_heading = GLOBAL, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// When to use colour
    #[arg(long, global = true, help_heading = GLOBAL, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub(crate) color: Colour,
    /// Written by a supervisor only: which worker this process is
    #[arg(long, hide = true, value_name = "SEAT")]
    pub(crate) as_worker: Option<WorkerIdentity>,
}

/// How data is written: for people, as one JSON document, or (`describe` only) as a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
    Mermaid,
    Dot,
}

/// When colour is used; `Auto` is on a terminal, unless `NO_COLOR` is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    Auto,
    Always,
    Never,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the tasks
    List,
    /// Run tasks until their sources are empty, or until stopped
    Run(Run),
    /// Run one transaction through a task, without a loop
    ProcessTransaction(Process),
    /// Fetch one transaction by its id, and run it through a task
    ProcessTransactionById(ProcessById),
    /// Open every connector and service, and tell all that is wrong
    Check(Check),
    /// Show what was rejected, and send it back
    DeadLetters(DeadLetters),
    /// Show tasks, what they are wired to, and the policies in force
    Describe(Describe),
    /// Write completions for a shell to standard output
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man page to standard output
    Man,
}

/// `run`
#[derive(Debug, Default, Args)]
pub(crate) struct Run {
    /// The tasks to run
    #[arg(value_name = "TASK")]
    pub(crate) tasks: Vec<String>,
    /// Run all tasks
    #[arg(long, conflicts_with = "tasks")]
    pub(crate) all: bool,
    /// Run each task in this many processes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) workers: Option<u32>,
    #[command(flatten)]
    pub(crate) policies: PolicyOptions,
    /// Fail if this holds at the end of a run: a count of the summary, compared with a number or with a share of what
    /// was processed, such as `rejected > 5%`; several with commas between them
    #[arg(long, value_name = "CONDITION", value_parser = str::parse::<FailWhen>)]
    pub(crate) fail_when: Option<FailWhen>,
    /// Show no progress
    #[arg(long)]
    pub(crate) no_progress: bool,
}

/// `process-transaction`
#[derive(Debug, Args)]
pub(crate) struct Process {
    /// The task
    pub(crate) task: String,
    /// `consumer`, for which part of the task; `-` to read the payload from standard input
    #[arg(value_name = "consumer|-", num_args = 0..=2)]
    pub(crate) rest: Vec<String>,
    /// The payload
    #[arg(long, value_name = "JSON", allow_hyphen_values = true, conflicts_with = "payload_file")]
    pub(crate) payload_json: Option<String>,
    /// The file that holds the payload
    #[arg(long, value_name = "FILE")]
    pub(crate) payload_file: Option<PathBuf>,
    /// The id of the transaction [default: a new one]
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Metadata of the transaction; can be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) metadata: Vec<(String, String)>,
    /// Only the process step: no handler runs, nothing is dispatched
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `process-transaction-by-id`
#[derive(Debug, Args)]
pub(crate) struct ProcessById {
    /// The task
    pub(crate) task: String,
    /// The id of the transaction, as the task's source knows it
    pub(crate) id: String,
    /// Only the process step: no handler runs, nothing is dispatched, and it is given back
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `check`
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The task [default: all]
    pub(crate) task: Option<String>,
}

/// `describe`
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// The task [default: all]
    pub(crate) task: Option<String>,
}

/// `dead-letters`
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    pub(crate) action: LetterAction,
}

/// What is to be done with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum LetterAction {
    /// Show what was rejected and why, a line each; they stay where they are
    List(Letters),
    /// Show them whole, payload included; they stay where they are
    Show(Letters),
    /// Send them back to where they came from, once, or through the task
    Replay(Replay),
}

impl LetterAction {
    /// Which letters it is about.
    pub(crate) fn letters(&self) -> &Letters {
        match self {
            Self::List(letters) | Self::Show(letters) => letters,
            Self::Replay(replay) => &replay.letters,
        }
    }
}

/// Which letters.
#[derive(Debug, Args)]
pub(crate) struct Letters {
    /// The task that rejected them
    pub(crate) task: String,
    /// Only those of which this holds: `id=A-1`, `error~"no stock"`, `attempts>2`, `payload.sku!=pen`, by `=`, `!=`,
    /// `~` (holds the text), `!~`, `<`, `<=`, `>`, `>=`; can be given several times, and all must hold. The fields are
    /// `id`, `error`, `category`, `attempts`, `replays`, `payload.<key>`, `metadata.<key>`
    #[arg(long = "where", value_name = "FIELD=VALUE", value_parser = Condition::parse)]
    pub(crate) conditions: Vec<Condition>,
    /// At most this many, the oldest first [default: all]
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    pub(crate) limit: Option<usize>,
}

/// `dead-letters replay`
#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) letters: Letters,
    /// Run each through the task here, instead of sending it back to its source: for sources that take nothing back
    #[arg(long)]
    pub(crate) process: bool,
    /// Only say what would be replayed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also those that were replayed before and were rejected again
    #[arg(long)]
    pub(crate) again: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or_else(|| "expected KEY=VALUE".to_owned())?;
    Ok((key.to_owned(), value.to_owned()))
}

/// All that can be written, under the program's own name, with examples.
pub(crate) fn command(package: &Package) -> clap::Command {
    let command = Arguments::command().name(package.name).bin_name(package.name).version(package.version);
    examples::with_examples(command, package.name)
}

/// Reads the command line of a program.
///
/// # Errors
/// What is wrong with it; asking for help or the version is an error of its own kind.
pub(crate) fn parse(
    package: &Package,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Arguments, clap::Error> {
    let (command, written) = (command(package), arguments.into_iter().collect::<Vec<_>>());
    let matches = command.clone().try_get_matches_from(&written);
    Arguments::from_arg_matches(&matches.map_err(|error| suggest_command(error, &command, &written))?)
}

/// Adds the closest command to the error of one that is not there, where clap finds none close enough: two letters that
/// changed places. `written` is the whole command line.
pub fn suggest_command(mut error: clap::Error, command: &clap::Command, written: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    if error.get(ContextKind::SuggestedSubcommand).is_some() {
        return error;
    }
    // The words before it say whose command it would be.
    let before = written.iter().skip(1).take_while(|word| word.to_str() != Some(wrong));
    let of = before.fold(command, |of, word| of.find_subcommand(word).unwrap_or(of));
    let visible = of.get_subcommands().filter(|command| !command.is_hide_set());
    let names =
        visible.flat_map(|command| std::iter::once(command.get_name()).chain(command.get_visible_aliases()));
    let names: Vec<&str> = names.collect();
    if let Some(similar) = suggest::similar(wrong, names) {
        let suggestion = ContextValue::Strings(vec![similar.to_owned()]);
        error.insert(ContextKind::SuggestedSubcommand, suggestion);
    }
    error
}
