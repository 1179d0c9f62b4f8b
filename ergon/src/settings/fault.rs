//! What a reader of the settings objects to, and how that becomes a [`Problem`] with a place.

use std::fmt;

use serde::de::{self, Unexpected};

use super::problem::{Problem, is_secret};
use super::suggest;
use super::tree::{Node, Origin, quoted};

/// The error of the deserializer: first what is wrong, then, at the value it is about, where.
#[derive(Debug)]
pub(super) enum Fault {
    /// Not yet placed.
    Bare(Bare),
    /// A table lacks a key.
    Missing(Missing),
    /// Placed.
    Placed(Vec<Problem>),
}

#[derive(Debug)]
pub(super) enum Bare {
    Custom(String),
    Mismatch { found: String, expected: String },
    UnknownVariant { found: String, similar: Option<&'static str>, known: &'static [&'static str] },
    UnknownField { found: String, known: &'static [&'static str] },
    MissingField(&'static str),
}

/// A key that is missing, and the table that lacks it.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) table: String,
    pub(super) field: &'static str,
    pub(super) origin: Origin,
}

impl Fault {
    /// Something that is no name of a variant was found.
    pub(super) fn variant(found: &str, known: &'static [&'static str]) -> Self {
        Self::Bare(Bare::UnknownVariant { found: found.to_owned(), similar: None, known })
    }

    /// Says where: at this value, under this path. What is placed already stays where it is.
    pub(super) fn at(self, node: &Node, path: &str) -> Self {
        let Self::Bare(bare) = self else { return self };
        if let Bare::MissingField(field) = bare {
            let origin = node.origin.clone();
            return Self::Missing(Missing { table: path.to_owned(), field, origin });
        }
        let mut problem = bare.problem(node, path);
        if let Some(hidden) = node.hidden.as_ref().and_then(Origin::at) {
            problem = problem.with_hint(format!("note: it replaces the value at {hidden}"));
        }
        Self::Placed(vec![problem])
    }
}

impl Bare {
    fn problem(self, node: &Node, path: &str) -> Problem {
        let problem = |what: String| Problem::new(node.origin.clone(), path, what);
        match self {
            Self::Custom(message) => problem(message),
            Self::Mismatch { found, expected } if is_secret(path) || is_secret(&found) => {
                problem(format!("expected {expected}"))
            }
            Self::Mismatch { found, expected } => {
                let made = problem(format!("expected {expected}, found {found}"));
                if expected == "text" && found.parse::<f64>().is_ok() {
                    return made.with_hint(format!("hint: put it in quotes: \"{found}\""));
                }
                made
            }
            Self::UnknownVariant { found, similar, known } => {
                let all: Vec<String> = known.iter().map(|name| format!("\"{name}\"")).collect();
                let expected = suggest::list(&all, "or");
                let made = problem(format!("expected {expected}, found {found}"));
                match similar {
                    Some(similar) => made.with_hint(format!("hint: did you mean \"{similar}\"?")),
                    None => made,
                }
            }
            Self::UnknownField { found, known } => unknown_key(problem, &found, known.iter().copied()),
            Self::MissingField(field) => problem(format!("the key `{field}` is missing")),
        }
    }
}

/// The problem of a key that nobody asks for.
pub(super) fn unknown_key<'k>(
    problem: impl FnOnce(String) -> Problem,
    key: &str,
    known: impl IntoIterator<Item = &'k str> + Clone,
) -> Problem {
    let made = problem(format!("unknown key `{key}`"));
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
        let (found, expected) = (found_words(found), expected_words(&expected.to_string()));
        Self::Bare(Bare::Mismatch { found, expected })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        let expected = expected_words(&expected.to_string());
        Self::Bare(Bare::Mismatch { found: format!("{length} of them"), expected })
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        let similar = suggest::similar(found, known.iter().copied());
        let found = if is_secret(found) { "another text".to_owned() } else { quoted(found) };
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
            Self::Bare(Bare::Mismatch { found, expected }) => write!(f, "expected {expected}, found {found}"),
            Self::Bare(Bare::UnknownVariant { found, .. } | Bare::UnknownField { found, .. }) => {
                write!(f, "`{found}` is not known")
            }
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

/// What was found, in the words of a settings file.
fn found_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(flag) => flag.to_string(),
        Unexpected::Unsigned(number) => number.to_string(),
        Unexpected::Signed(number) => number.to_string(),
        Unexpected::Float(number) => number.to_string(),
        Unexpected::Str(text) => quoted(text),
        Unexpected::Char(letter) => quoted(letter.encode_utf8(&mut [0; 4])),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// What was expected, in the words of a settings file rather than of Rust.
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
