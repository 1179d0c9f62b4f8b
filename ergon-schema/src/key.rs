//! The types that describe a policy key: its values, the rules for them, and the texts for its documentation. The
//! macros check the rules when a program is compiled, and the runtime checks them when it reads the settings.

use std::fmt;
use std::time::Duration;

/// The rule for a time limit. A limit of 0s is refused, because no work could keep it, and because 0 means "no limit"
/// in other programs.
pub const NO_TIME: &str = "must be longer than 0s";

/// The description of one policy key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The key as it is written: `max_attempts`.
    pub name: &'static str,
    /// The values that the key takes.
    pub kind: Kind,
    /// A sentence for the documentation.
    pub meaning: &'static str,
    /// The text for the default, where the default has no value.
    pub default: Option<&'static str>,
    /// The option of `run` that sets the key.
    pub option: Option<RunOption>,
}

/// The values that a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A whole number.
    Count {
        /// The least value.
        least: Option<Bound<u64>>,
        /// The greatest value.
        most: Option<Bound<u64>>,
        /// Whether the policy may have no value.
        maybe: bool,
    },
    /// A number between two limits, both included.
    Number {
        /// The least value.
        least: f64,
        /// The greatest value.
        most: f64,
        /// The rule in words.
        rule: &'static str,
    },
    /// `true` or `false`.
    Flag,
    /// A duration.
    Time {
        /// Whether the policy may have no value.
        maybe: bool,
        /// The rule that a duration of 0 breaks.
        positive: Option<&'static str>,
        /// The key whose value must not be greater.
        not_below: Option<Bound<&'static str>>,
    },
    /// A time limit: a duration longer than 0, or no limit.
    Limit {
        /// Whether `"none"` can be written.
        or_none: bool,
    },
    /// A word.
    Word {
        /// The enum whose variants the words name.
        of: &'static str,
        /// All words.
        words: &'static [Word],
    },
    /// The name of a connector of the task. Only the attribute and the code can set it.
    Slot(SlotUse),
    /// The keys of a retry policy, or a constant of that type.
    Step,
    /// A group of keys.
    Group {
        /// The struct that holds the keys.
        of: &'static str,
        /// The keys.
        keys: &'static [Key],
    },
}

/// A limit of a value, and the rule in words.
#[derive(Debug, Clone, Copy)]
pub struct Bound<T> {
    /// The limit.
    pub value: T,
    /// The rule: `must be at least 1`.
    pub rule: &'static str,
}

/// A word and the variant that it names.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    /// The word as it is written: `batch`.
    pub word: &'static str,
    /// The variant: `Batch`.
    pub variant: &'static str,
}

/// The role in which a policy uses a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotUse {
    /// The policy reads from the connector.
    Source,
    /// The policy writes to the connector.
    Sink,
}

/// An option of the command `run`.
#[derive(Debug, Clone, Copy)]
pub struct RunOption {
    /// The name without its dashes.
    pub name: &'static str,
    /// The value of the key, where the option itself takes no value.
    pub sets: Option<bool>,
    /// The line of the help.
    pub help: &'static str,
}

/// A policy as data: its keys, and a value for each key.
pub trait Policy: fmt::Debug {
    /// The keys, in the order of the schema.
    fn keys(&self) -> &'static [Key];

    /// The values, in the order of the keys.
    fn values(&self) -> Vec<Value<'_>>;
}

/// The value of a key.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// No value.
    Absent,
    /// The value of a [`Kind::Count`].
    Count(u64),
    /// The value of a [`Kind::Number`].
    Number(f64),
    /// The value of a [`Kind::Flag`].
    Flag(bool),
    /// The value of a [`Kind::Time`] or a [`Kind::Limit`].
    Time(Duration),
    /// The value of a [`Kind::Word`].
    Word(&'a str),
    /// The value of a [`Kind::Slot`].
    Slot(&'a str),
    /// The values of a [`Kind::Step`] or a [`Kind::Group`].
    Group(&'a dyn Policy),
}

impl Key {
    /// Returns the key of this name.
    pub fn find(keys: &'static [Self], name: &str) -> Option<&'static Self> {
        keys.iter().find(|key| key.name == name)
    }

    /// Returns the rule that a value breaks together with the other values of its policy; `keys` and `values`
    /// correspond.
    pub const fn broken_among(
        &self,
        value: &Value<'_>,
        keys: &[Self],
        values: &[Value<'_>],
    ) -> Option<&'static str> {
        let (Kind::Time { not_below: Some(other), .. }, Value::Time(time)) = (self.kind, value) else {
            return None;
        };
        let (mut keys, mut values) = (keys, values);
        while let ([key, more_keys @ ..], [floor, more_values @ ..]) = (keys, values) {
            if let Value::Time(floor) = floor
                && same(key.name, other.value)
                && time.as_nanos() < floor.as_nanos()
            {
                return Some(other.rule);
            }
            (keys, values) = (more_keys, more_values);
        }
        None
    }
}

impl Kind {
    /// Returns the rule that a value breaks by itself.
    pub const fn broken_by(self, value: &Value<'_>) -> Option<&'static str> {
        match (self, value) {
            (Self::Count { least, most, .. }, Value::Count(count)) => match (least, most) {
                (Some(least), _) if *count < least.value => Some(least.rule),
                (_, Some(most)) if *count > most.value => Some(most.rule),
                _ => None,
            },
            // NaN fails both comparisons, so it breaks the rule.
            (Self::Number { least, most, rule }, Value::Number(number)) => {
                if *number >= least && *number <= most { None } else { Some(rule) }
            }
            (Self::Time { positive, .. }, Value::Time(time)) if time.is_zero() => positive,
            (Self::Limit { .. }, Value::Time(time)) if time.is_zero() => Some(NO_TIME),
            _ => None,
        }
    }
}

/// Returns the first key whose value breaks a rule, and the rule; `keys` and `values` correspond.
pub const fn first_broken(keys: &'static [Key], values: &[Value<'_>]) -> Option<Bound<&'static str>> {
    let (mut rest, mut others) = (keys, values);
    while let ([key, more_keys @ ..], [value, more_values @ ..]) = (rest, others) {
        let alone = key.kind.broken_by(value);
        let rule = if alone.is_some() { alone } else { key.broken_among(value, keys, values) };
        if let Some(rule) = rule {
            return Some(Bound { value: key.name, rule });
        }
        (rest, others) = (more_keys, more_values);
    }
    None
}

/// Compares two texts in a constant.
const fn same(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    while let ([first, rest @ ..], [second, others @ ..]) = (one, other) {
        if *first != *second {
            return false;
        }
        (one, other) = (rest, others);
    }
    one.is_empty() && other.is_empty()
}

/// Returns the first of at most one value: the optional part of a row in the schema.
pub(crate) const fn given<T: Copy>(values: &[T]) -> Option<T> {
    match values {
        [value, ..] => Some(*value),
        [] => None,
    }
}
