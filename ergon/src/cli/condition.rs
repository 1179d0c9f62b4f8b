//! Parses the conditions of `--where`: a field, a comparison and a value.

use std::cmp::Ordering;

use serde_json::Value;

use crate::settings::suggest;

/// The fields of a dead letter, in addition to its payload and its metadata.
const FIELDS: [&str; 5] = ["id", "error", "category", "attempts", "replays"];

/// The comparisons, the longer ones first.
const COMPARISONS: [(&str, Comparison); 9] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("!~", Comparison::HoldsNot),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("=", Comparison::Equal),
    ("~", Comparison::Holds),
    ("<", Comparison::Less),
    (">", Comparison::More),
];

/// A condition on one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    /// `id`, `payload.sku`, `metadata.line`, ….
    pub(crate) field: String,
    comparison: Comparison,
    value: String,
}

/// The comparison of a field with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Holds,
    HoldsNot,
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Condition {
    /// Parses `field=value`, `field~"text"` and the like. Spaces around the comparison and quotes around the value are
    /// removed.
    ///
    /// # Errors
    /// The comparison is missing, or a dead letter cannot have the field.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let split = text.char_indices().find_map(|(at, _)| {
            let rest = text.get(at..)?;
            let (sign, comparison) = COMPARISONS.iter().find(|(sign, _)| rest.starts_with(sign))?;
            Some((text.get(..at)?, *comparison, rest.get(sign.len()..)?))
        });
        let Some((field, comparison, value)) = split.filter(|(field, ..)| !field.trim().is_empty()) else {
            return Err("expected FIELD=VALUE, or one of != ~ !~ < <= > >= in place of =".to_owned());
        };
        let field = field.trim();
        let within = |whole: &str| {
            field.strip_prefix(whole).is_some_and(|rest| rest.starts_with('.') && rest.len() > 1)
        };
        if FIELDS.contains(&field) || within("payload") || within("metadata") {
            return Ok(Self { field: field.to_owned(), comparison, value: unquoted(value.trim()) });
        }
        let known = FIELDS.into_iter().chain(["payload.<key>", "metadata.<key>"]);
        let hint = suggest::hint(field, known).unwrap_or_default();
        Err(format!("a dead letter has no field `{field}`; {hint}"))
    }

    /// Whether the condition holds for a value. Numbers are compared as numbers, and other values as text. A number and
    /// a text that is not a number have no order.
    pub(crate) fn holds(&self, found: &Value) -> bool {
        let text = match found {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let order = || order(&text, &self.value);
        let is_equal = || text == self.value || is_same_number(&text, &self.value);
        match self.comparison {
            Comparison::Equal => is_equal(),
            Comparison::NotEqual => !is_equal(),
            Comparison::Holds => holds(&text, &self.value),
            Comparison::HoldsNot => !holds(&text, &self.value),
            Comparison::Less => order() == Some(Ordering::Less),
            Comparison::AtMost => order().is_some_and(Ordering::is_le),
            Comparison::More => order() == Some(Ordering::Greater),
            Comparison::AtLeast => order().is_some_and(Ordering::is_ge),
        }
    }
}

/// Removes the quotes of a shell or of JSON from a value.
fn unquoted(value: &str) -> String {
    let within = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    match (within('"'), within('\'')) {
        (Some(inner), _) => serde_json::from_str(value).unwrap_or_else(|_| inner.to_owned()),
        (None, Some(inner)) => inner.to_owned(),
        (None, None) => value.to_owned(),
    }
}

/// Whether a text contains another, regardless of case.
fn holds(text: &str, wanted: &str) -> bool {
    text.to_lowercase().contains(&wanted.to_lowercase())
}

fn is_same_number(one: &str, other: &str) -> bool {
    matches!((number(one), number(other)), (Some(one), Some(other)) if one.cmp_with(other) == Some(Ordering::Equal))
}

/// The order of two texts, or of two numbers if both are numbers.
fn order(one: &str, other: &str) -> Option<Ordering> {
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one.cmp_with(other),
        (None, None) => Some(one.cmp(other)),
        _ => None,
    }
}

/// The number in a text.
#[derive(Debug, Clone, Copy)]
enum Number {
    Whole(i128),
    Fraction(f64),
}

impl Number {
    fn cmp_with(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => Some(one.cmp(&other)),
            (one, other) => one.fraction().partial_cmp(&other.fraction()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "compared with a number that is no more exact")]
    fn fraction(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Fraction(number) => number,
        }
    }
}

fn number(text: &str) -> Option<Number> {
    let text = text.trim();
    let whole = text.parse().ok().map(Number::Whole);
    let fraction = || text.parse().ok().filter(|number: &f64| number.is_finite()).map(Number::Fraction);
    whole.or_else(fraction)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(condition: &str, found: &Value) -> bool {
        Condition::parse(condition).unwrap().holds(found)
    }

    #[test]
    fn each_comparison_does_what_it_says() {
        for (condition, found) in [
            ("id=A-1", json!("A-1")),
            ("id = A-1", json!("A-1")),
            ("id==A-1", json!("A-1")),
            ("id=\"a=b\"", json!("a=b")),
            ("id='a \"b\"'", json!("a \"b\"")),
            ("id=\"a \\\"b\\\"\"", json!("a \"b\"")),
            ("id=", json!("")),
            ("id=\"", json!("\"")),
            ("attempts=3", json!(3)),
            ("attempts=3.0", json!(3)),
            ("payload.price=1.50", json!("1.5")),
            ("payload.big=18446744073709551617", json!("18446744073709551617")),
            ("attempts!=3", json!(4)),
            ("error~\"exported before\"", json!("order 7 was Exported Before, by b")),
            ("error~exported before", json!("it was exported before")),
            ("error!~disk", json!("no such order")),
            ("attempts<10", json!(9)),
            ("attempts<=9", json!(9)),
            ("attempts>9", json!(10)),
            ("attempts>=10", json!("10")),
            ("payload.at>2026-01-01", json!("2026-01-01T08:00:00Z")),
            ("payload.at<b", json!("a")),
            ("payload.gone=null", Value::Null),
            ("metadata.a!b=1", json!(1)),
        ] {
            assert!(holds(condition, &found), "{condition} of {found}");
        }
        for (condition, found) in [
            ("id=a-1", json!("A-1")),
            ("attempts!=3.0", json!(3)),
            ("attempts=30", json!(3)),
            ("payload.big=18446744073709551617", json!("18446744073709551616")),
            ("error~disk", json!("no such order")),
            ("error!~ORDER", json!("no such order")),
            ("attempts<10", json!(10)),
            ("attempts>9", json!("many")),
            ("payload.at<5", json!("2026-01-01")),
            ("payload.at>5", json!("2026-01-01")),
        ] {
            assert!(!holds(condition, &found), "{condition} of {found}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in ["id", "", "=1", " ~x", "payload", "payload.=1", "payload=1", "eror~x", "ids>1"] {
            assert!(Condition::parse(text).is_err(), "{text}");
        }
        let error = Condition::parse("eror~\"x\"").unwrap_err();
        assert_eq!(error, "a dead letter has no field `eror`; did you mean `error`?");
    }
}
