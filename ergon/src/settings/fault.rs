//! Collects the errors of the settings reader, and converts them to [`Problem`]s with places.

use std::fmt;

use serde::de::{self, Unexpected};

use super::origin::Origin;
use super::problem::{Problem, is_secret};
use super::tree::{Node, Value, quoted};
use super::{leak, suggest};

/// The error of the deserializer. Its place is added at the invalid value.
#[derive(Debug)]
pub(super) enum Fault {
    /// An error without a place.
    Bare(Bare),
    /// A table lacks a key.
    Missing(Missing),
    /// Errors with places.
    Placed(Vec<Problem>),
}

#[derive(Debug)]
pub(super) enum Bare {
    Custom(String),
    Mismatch { found: Found, expected: String },
    UnknownVariant { found: Found, similar: Option<&'static str>, known: &'static [&'static str] },
    UnknownField { found: String, known: &'static [&'static str] },
    MissingField(&'static str),
}

/// The found value, or only its kind.
pub(super) enum Found {
    Value(String),
    Kind(String),
}

/// Hides the value, because it may be secret.
impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value"),
            Self::Kind(kind) => f.write_str(kind),
        }
    }
}

impl Found {
    /// The end of a message, without a value that must not be shown.
    fn shown(&self, show_value: bool) -> String {
        match self {
            Self::Value(value) if show_value => format!(", found {value}"),
            Self::Value(_) => String::new(),
            Self::Kind(kind) => format!(", found {kind}"),
        }
    }
}

/// A missing key and its table.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) table: String,
    pub(super) field: &'static str,
    pub(super) origin: Origin,
}

impl Fault {
    /// The error of a value that is not the name of a variant.
    pub(super) fn variant(node: &Node, known: &'static [&'static str]) -> Self {
        let found = match node.value {
            Value::List(_) => Found::Kind("a list".to_owned()),
            Value::Table(_) => Found::Kind("a table".to_owned()),
            _ => Found::Value(node.describe()),
        };
        Self::Bare(Bare::UnknownVariant { found, similar: None, known })
    }

    /// Adds the place of an error that has none: this value under this path.
    pub(super) fn at(self, node: &Node, path: &str, secret: bool) -> Self {
        let Self::Bare(bare) = self else { return self };
        if let Bare::MissingField(field) = bare {
            let origin = node.origin.clone();
            return Self::Missing(Missing { table: path.to_owned(), field, origin });
        }
        let secrecy = Secrecy::of(node, path, secret);
        let mut problem = bare.problem(node, path, &secrecy);
        if secrecy.hides_value {
            problem = problem.without_value();
        }
        if let Some(hidden) = node.hidden.as_ref().and_then(Origin::at) {
            problem = problem.with_hint(format!("note: it replaces the value at {hidden}"));
        }
        Self::Placed(vec![problem])
    }
}

/// The parts of a value that must not be shown.
struct Secrecy {
    /// Whether the value is hidden.
    hides_value: bool,
    /// The texts that no message may repeat.
    texts: Vec<String>,
}

impl Secrecy {
    /// Finds the secret parts of a value under this path; `secret` if its type is that of a secret.
    fn of(node: &Node, path: &str, secret: bool) -> Self {
        let by_name = secret || is_secret(path);
        let mut texts = Vec::new();
        node.texts(&mut |text, private| {
            if private || by_name || is_secret(text) {
                texts.push(text.to_owned());
            }
        });
        // A message about a list or a table may repeat any value in it.
        let hides_value = !node.is_scalar() || !texts.is_empty() || by_name || node.origin.is_private();
        Self { hides_value, texts }
    }

    /// Whether a message repeats a part of a secret.
    fn is_broken_by(&self, message: &str) -> bool {
        self.texts.iter().any(|text| leak::repeats(message, text))
    }
}

impl Bare {
    fn problem(self, node: &Node, path: &str, secrecy: &Secrecy) -> Problem {
        let problem = |what: String| Problem::new(node.origin.clone(), path, what);
        let show_value = !secrecy.hides_value;
        match self {
            Self::Custom(message) if secrecy.is_broken_by(&message) => {
                problem("this value is invalid".to_owned())
                    .with_hint("note: the reason is not shown, because it repeats a part of the value")
            }
            Self::Custom(message) => problem(message),
            Self::Mismatch { found, expected } => {
                let expected = if secrecy.texts.iter().any(|text| leak::holds(&expected, text)) {
                    "another value"
                } else {
                    &expected
                };
                let made = problem(format!("expected {expected}{}", found.shown(show_value)));
                match found {
                    Found::Value(number)
                        if show_value && expected == "text" && number.parse::<f64>().is_ok() =>
                    {
                        made.with_hint(format!("hint: put it in quotes: \"{number}\""))
                    }
                    _ => made,
                }
            }
            Self::UnknownVariant { found, similar, known } => {
                let all: Vec<String> = known.iter().map(|name| format!("\"{name}\"")).collect();
                let expected = suggest::list(&all, "or");
                let made = problem(format!("expected {expected}{}", found.shown(show_value)));
                match similar {
                    Some(similar) => made.with_hint(format!("hint: did you mean \"{similar}\"?")),
                    None => made,
                }
            }
            Self::UnknownField { found, known } => {
                let is_in_value =
                    !node.entries().iter().any(|entry| entry.key == found && !entry.is_in_value());
                let shown = (!is_in_value || !node.origin.is_private()).then_some(&*found);
                unknown_key(problem, &found, shown, known.iter().copied())
            }
            Self::MissingField(field) => problem(format!("the key `{field}` is missing")),
        }
    }
}

/// The problem of an unknown key. The key is not `shown` if it is part of a hidden value.
pub(super) fn unknown_key<'k>(
    problem: impl FnOnce(String) -> Problem,
    key: &str,
    shown: Option<&str>,
    known: impl IntoIterator<Item = &'k str> + Clone,
) -> Problem {
    let made = problem(match shown {
        Some(key) => format!("unknown key `{key}`"),
        None => "a key in the value is unknown".to_owned(),
    });
    match suggest::hint(key, known) {
        Some(hint) => made.with_hint(format!("hint: {hint}")),
        None => made.with_hint("hint: this table has no keys"),
    }
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Bare(Bare::Custom(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let (found, expected) = (found_of(found), expected_words(&expected.to_string()));
        Self::Bare(Bare::Mismatch { found, expected })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        let expected = expected_words(&expected.to_string());
        Self::Bare(Bare::Mismatch { found: Found::Kind(format!("{length} of them")), expected })
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        let similar = suggest::similar(found, known.iter().copied());
        let found = Found::Value(quoted(found));
        Self::Bare(Bare::UnknownVariant { found, similar, known })
    }

    fn unknown_field(found: &str, known: &'static [&'static str]) -> Self {
        Self::Bare(Bare::UnknownField { found: found.to_owned(), known })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Bare(Bare::MissingField(field))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare(Bare::Custom(message)) => f.write_str(message),
            Self::Bare(Bare::Mismatch { found, expected }) => {
                write!(f, "expected {expected}{}", found.shown(false))
            }
            Self::Bare(Bare::UnknownVariant { .. }) => f.write_str("this name is not known"),
            Self::Bare(Bare::UnknownField { .. }) => f.write_str("a key is not known"),
            Self::Bare(Bare::MissingField(field)) | Self::Missing(Missing { field, .. }) => {
                write!(f, "the key `{field}` is missing")
            }
            Self::Placed(problems) => {
                problems.iter().try_for_each(|problem| f.write_str(&problem.headline()))
            }
        }
    }
}

impl std::error::Error for Fault {}

/// The found value in the terms of a settings file.
fn found_of(found: Unexpected<'_>) -> Found {
    Found::Value(match found {
        Unexpected::Bool(flag) => flag.to_string(),
        Unexpected::Unsigned(number) => number.to_string(),
        Unexpected::Signed(number) => number.to_string(),
        Unexpected::Float(number) => number.to_string(),
        Unexpected::Str(text) => quoted(text),
        Unexpected::Char(letter) => quoted(letter.encode_utf8(&mut [0; 4])),
        Unexpected::Other(other) => other.to_owned(),
        Unexpected::Seq => return Found::Kind("a list".to_owned()),
        Unexpected::Map => return Found::Kind("a table".to_owned()),
        other => return Found::Kind(other.to_string()),
    })
}

/// The expected value in the terms of a settings file rather than of Rust.
fn expected_words(expected: &str) -> String {
    let words = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "u128" | "usize" => "a whole number that is not negative",
        "i8" => "a whole number from -128 to 127",
        "i16" => "a whole number from -32768 to 32767",
        "i32" => "a whole number from -2147483648 to 2147483647",
        "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" => "text",
        "a sequence" => "a list",
        "a map" => "a table",
        "a character" => "one character",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    words.to_owned()
}
