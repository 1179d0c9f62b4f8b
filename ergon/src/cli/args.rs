//! Defines the command line of a project's program, and parses it.

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
    /// Print log lines of this level and above, or by directives such as `warn,my_crate=debug` [default: info, or warn
    /// with `--quiet`]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// Print only warnings and errors: no progress, no summary
    #[arg(long, short, global = true, help_heading = GLOBAL)]
    pub(crate) quiet: bool,
    /// Print data to standard output in this format; `mermaid` and `dot` are graphs, for `describe` only
    #[arg(long, global = true, help_heading = GLOBAL, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Use colour: `auto` uses it on a terminal, unless `NO_COLOR` is set
    #[arg(long, global = true, help_heading = GLOBAL, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub(crate) color: Colour,
    /// Identify this process as a worker; only a supervisor writes this option
    #[arg(long, hide = true, value_name = "SEAT")]
    pub(crate) as_worker: Option<WorkerIdentity>,
}

/// The format of data: text for people, one JSON document, or a graph (`describe` only).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
    Mermaid,
    Dot,
}

/// The use of colour. `Auto` uses it on a terminal, unless `NO_COLOR` is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    Auto,
    Always,
    Never,
}

/// The commands of a program.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the tasks with their connectors and services
    List,
    /// Run tasks until their sources are empty, or until a signal stops them
    Run(Run),
    /// Process one transaction with a task, outside of a run
    ProcessTransaction(Process),
    /// Fetch one transaction by its id and process it with a task
    ProcessTransactionById(ProcessById),
    /// Open every connector and service, and report all problems
    Check(Check),
    /// List, show or replay the transactions that a task rejected
    DeadLetters(DeadLetters),
    /// Show the connectors, services and effective policies of tasks
    Describe(Describe),
    /// Print completions for a shell to standard output
    Completions {
        /// The shell that the completions are for
        shell: clap_complete::Shell,
    },
    /// Print the manual page to standard output
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
    /// Run each task in this many worker processes [default: the task's `workers`]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) workers: Option<u32>,
    #[command(flatten)]
    pub(crate) policies: PolicyOptions,
    /// Fail the run, with exit code 1, if this condition holds at its end. A condition compares a figure of the summary
    /// with a number or with a percentage of the processed transactions: `rejected > 5%`. Separate several conditions
    /// with commas; `none` switches the conditions of the settings off [default: `fail_when` in `[runner]`]
    #[arg(long, value_name = "CONDITION", value_parser = str::parse::<FailWhen>)]
    pub(crate) fail_when: Option<FailWhen>,
    /// Print no progress
    #[arg(long)]
    pub(crate) no_progress: bool,
}

/// `process-transaction`
#[derive(Debug, Args)]
pub(crate) struct Process {
    /// The task that processes the transaction
    pub(crate) task: String,
    /// Read the payload from standard input: `-`. The word `consumer` is accepted and has no effect
    #[arg(value_name = "consumer|-", num_args = 0..=2)]
    pub(crate) rest: Vec<String>,
    /// The payload, as JSON
    #[arg(long, value_name = "JSON", allow_hyphen_values = true, conflicts_with = "payload_file")]
    pub(crate) payload_json: Option<String>,
    /// Read the payload, as JSON, from this file
    #[arg(long, value_name = "FILE")]
    pub(crate) payload_file: Option<PathBuf>,
    /// The id of the transaction [default: a new id]
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Add this entry to the metadata of the transaction; can be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) metadata: Vec<(String, String)>,
    /// Run only the process step: no handler runs, and nothing is dispatched
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `process-transaction-by-id`
#[derive(Debug, Args)]
pub(crate) struct ProcessById {
    /// The task that processes the transaction
    pub(crate) task: String,
    /// The id by which the task's source knows the transaction
    pub(crate) id: String,
    /// Run only the process step: no handler runs, nothing is dispatched, and the transaction is given back
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `check`
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The task to check [default: all tasks]
    pub(crate) task: Option<String>,
}

/// `describe`
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// The task to describe [default: all tasks]
    pub(crate) task: Option<String>,
}

/// `dead-letters`
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    pub(crate) action: LetterAction,
}

/// The commands for dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum LetterAction {
    /// List dead letters with the reasons, one on each line, and keep them
    List(Letters),
    /// Show dead letters with metadata and payload, and keep them
    Show(Letters),
    /// Send dead letters back to their source, or process them with the task, and remove them
    Replay(Replay),
}

impl LetterAction {
    /// Returns the selection of dead letters.
    pub(crate) fn letters(&self) -> &Letters {
        match self {
            Self::List(letters) | Self::Show(letters) => letters,
            Self::Replay(replay) => &replay.letters,
        }
    }
}

/// A selection of dead letters.
#[derive(Debug, Args)]
pub(crate) struct Letters {
    /// The task that rejected the transactions
    pub(crate) task: String,
    /// Select dead letters by a condition: `id=A-1`, `error~"no stock"`, `attempts>2`, `payload.sku!=pen`. The fields
    /// are `id`, `error`, `category`, `attempts`, `replays`, `payload.<key>` and `metadata.<key>`. The comparisons are
    /// `=`, `!=`, `~` (contains the text), `!~`, `<`, `<=`, `>` and `>=`. Can be repeated: all conditions must hold
    /// [default: all dead letters of the task]
    #[arg(long = "where", value_name = "FIELD=VALUE", value_parser = Condition::parse)]
    pub(crate) conditions: Vec<Condition>,
    /// Select at most this many dead letters, the oldest first [default: all]
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    pub(crate) limit: Option<usize>,
}

/// `dead-letters replay`
#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) letters: Letters,
    /// Process each dead letter with the task in this program, and do not send it back to its source: for sources that
    /// accept nothing back
    #[arg(long)]
    pub(crate) process: bool,
    /// Print the dead letters that would be replayed, and replay none
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also replay dead letters that were replayed before and rejected again
    #[arg(long)]
    pub(crate) again: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or_else(|| "expected KEY=VALUE".to_owned())?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The command line of a program under its own name, with examples.
pub(crate) fn command(package: &Package) -> clap::Command {
    let command = Arguments::command().name(package.name).bin_name(package.name).version(package.version);
    examples::with_examples(command, package.name)
}

/// Reads the command line of a program.
///
/// # Errors
/// The arguments cannot be parsed. A request for help or for the version is a separate kind of error.
pub(crate) fn parse(
    package: &Package,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Arguments, clap::Error> {
    let (command, written) = (command(package), arguments.into_iter().collect::<Vec<_>>());
    let matches = command.clone().try_get_matches_from(&written);
    Arguments::from_arg_matches(&matches.map_err(|error| suggest_command(error, &command, &written))?)
}

/// Adds the closest command to the error of an unknown one where clap suggests none: it does not recognize two letters
/// that changed places. `written` is the whole command line.
pub fn suggest_command(mut error: clap::Error, command: &clap::Command, written: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    if error.get(ContextKind::SuggestedSubcommand).is_some() {
        return error;
    }
    // The words before the unknown one select the command that it belongs to.
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
