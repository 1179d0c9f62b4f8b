//! Builds the options of `run` that set policy keys. The policy schema defines the keys and the names of the options.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use ergon_schema::{CONSUMER, Key, Kind, PRODUCER, RunOption};
use serde_json::Value;

use crate::policy::duration;
use crate::policy::{Flag, Flags};

/// The policy values that one command line sets.
#[derive(Debug, Default)]
pub(crate) struct PolicyOptions(pub(crate) Flags);

/// Every key that has an option: options with a value first, then options without one.
fn options() -> impl Iterator<Item = (&'static Key, RunOption)> {
    let of_producer = PRODUCER.iter().filter(|key| Key::find(CONSUMER, key.name).is_none());
    let all = CONSUMER.iter().chain(of_producer).filter_map(|key| Some((key, key.option?)));
    let (switches, valued): (Vec<_>, Vec<_>) = all.partition(|(_, option)| option.sets.is_some());
    valued.into_iter().chain(switches)
}

/// The option of a key.
fn arg(key: &'static Key, option: RunOption) -> Arg {
    let arg = Arg::new(key.name).long(option.name).help(option.help);
    if option.sets.is_some() {
        return arg.action(ArgAction::SetTrue);
    }
    let name = match key.kind {
        Kind::Count { .. } | Kind::Number { .. } => "N",
        Kind::Time { .. } | Kind::Limit { .. } => "DURATION",
        _ => "VALUE",
    };
    arg.value_name(name).value_parser(ValueParser::new(move |text: &str| flag(key, option, text)))
}

/// Reads the value of an option.
///
/// # Errors
/// The text is not a value of the key's kind.
fn flag(key: &'static Key, option: RunOption, text: &str) -> Result<Flag, String> {
    let value = match key.kind {
        Kind::Count { .. } => whole::<u64>(text)?.into(),
        Kind::Number { .. } => text.parse::<f64>().map_err(|_| "expected a number".to_owned())?.into(),
        Kind::Time { .. } | Kind::Limit { .. } => duration::parse(text).map(|_| Value::from(text))?,
        _ => text.into(),
    };
    let flag = Flag { key: key.name, value, written: format!("--{} {text}", option.name) };
    Flags::new(vec![flag.clone()]).map_err(|error| error.to_string())?;
    Ok(flag)
}

/// Reads a whole number.
///
/// # Errors
/// The text is not a whole number.
pub(super) fn whole<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "expected a whole number that is not negative".to_owned())
}

impl Args for PolicyOptions {
    fn augment_args(command: Command) -> Command {
        options().fold(command, |command, (key, option)| command.arg(arg(key, option)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for PolicyOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = options().filter_map(|(key, option)| match option.sets {
            None => matches.get_one::<Flag>(key.name).cloned(),
            Some(value) => matches.get_flag(key.name).then(|| Flag {
                key: key.name,
                value: value.into(),
                written: format!("--{}", option.name),
            }),
        });
        let flags = Flags::new(flags.collect());
        flags.map(Self).map_err(|error| clap::Error::raw(clap::error::ErrorKind::InvalidValue, error))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
