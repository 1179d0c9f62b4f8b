//! Checks the rules of `#[derive(TransactionError)]`: each variant has exactly one category.

use std::time::Duration;

use syn::{Attribute, Data, DeriveInput, Expr, ExprLit, Field, Fields, Ident, Lit, Meta};

use super::duration::parse_duration;
use crate::diagnostics::{Problems, suggestion};
use crate::model::{Category, TransactionError};
use crate::parse::{Value, entries};

const CATEGORIES: [(&str, &str); 3] =
    [("business", "Business"), ("system", "System"), ("timeout", "Timeout")];

/// Makes the model of an error whose variants have categories.
pub(crate) fn transaction_error(input: DeriveInput, problems: &mut Problems) -> Option<TransactionError> {
    if !input.generics.params.is_empty() {
        problems.at(&input.generics, "an error with a category cannot be generic; write the concrete types");
        return None;
    }
    let default = category(&input.attrs, problems);
    let (mut arms, mut transparent) = (Vec::new(), Vec::new());
    let mut sort = |variant: Option<&Ident>, said: Said, fields: &Fields, problems: &mut Problems| {
        let place = variant.unwrap_or(&input.ident);
        let said = if matches!(said, Said::Nothing) { default } else { said };
        let category = match said {
            Said::Category(category) => category,
            Said::Transparent => match only_field(fields, place, problems) {
                Some(field) => return transparent.push((variant.cloned(), field)),
                None => STAND_IN,
            },
            Said::Nothing => {
                no_category(place, problems);
                STAND_IN
            }
        };
        arms.push((variant.cloned(), category));
    };
    match &input.data {
        Data::Enum(data) => {
            for variant in &data.variants {
                let said = category(&variant.attrs, problems);
                sort(Some(&variant.ident), said, &variant.fields, problems);
            }
        }
        Data::Struct(data) => sort(None, Said::Nothing, &data.fields, problems),
        Data::Union(data) => {
            problems.at(&data.union_token, "an error with a category must be an enum or a struct");
            return None;
        }
    }
    Some(TransactionError { ergon: super::ergon(), ident: input.ident, arms, transparent })
}

/// The category of a variant without one, next to the error that reports it.
const STAND_IN: Category = Category { name: "System", retry_after: None };

/// The category in the attributes of a variant or type.
#[derive(Debug, Clone, Copy)]
enum Said {
    Nothing,
    Category(Category),
    /// The category of the error inside.
    Transparent,
}

/// Returns the only field of a transparent variant or struct.
fn only_field(fields: &Fields, place: &Ident, problems: &mut Problems) -> Option<Field> {
    let mut all = fields.iter();
    if let (Some(only), None) = (all.next(), all.next()) {
        return Some(only.clone());
    }
    let message =
        format!("`{place}` is transparent, so it must have one field: the error whose category it takes");
    problems.at(place, message);
    None
}

fn no_category(ident: &Ident, problems: &mut Problems) {
    let message = format!(
        "`{ident}` has no category; add `#[business]` (never retried), `#[system]` or `#[timeout]` (retried)"
    );
    problems.at(ident, message);
}

fn category(attributes: &[Attribute], problems: &mut Problems) -> Said {
    let mut found = Said::Nothing;
    for attribute in attributes {
        let transparent = attribute.path().is_ident("transparent");
        let category = CATEGORIES.iter().find(|(word, _)| attribute.path().is_ident(word));
        if !transparent && category.is_none() {
            continue;
        }
        if !matches!(found, Said::Nothing) {
            problems.at(attribute, "an error can have only one category; keep one of them");
            continue;
        }
        found = match category {
            Some((_, name)) => {
                Said::Category(Category { name, retry_after: retry_after(attribute, name, problems) })
            }
            None => {
                problems.keep(attribute.meta.require_path_only().map(drop));
                Said::Transparent
            }
        };
    }
    found
}

fn retry_after(attribute: &Attribute, category: &str, problems: &mut Problems) -> Option<Duration> {
    let Meta::List(list) = &attribute.meta else { return None };
    let entries = entries(list.tokens.clone(), problems);
    let entry = entries.first()?;
    if entry.key != "retry_after" {
        let near = suggestion(&entry.key.to_string(), ["retry_after"]);
        problems.at(&entry.key, format!("`{}` is not a key of a category; {near}", entry.key));
        return None;
    }
    if category == "Business" {
        let message =
            "a business error is never retried; remove `retry_after`, or write `#[system(retry_after = …)]`";
        problems.at(&entry.key, message);
        return None;
    }
    let text = match &entry.value {
        Value::Is(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => text,
        Value::Unreadable => return None,
        _ => {
            problems.at(&entry.key, "`retry_after` takes a duration in quotes; write `retry_after = \"5s\"`");
            return None;
        }
    };
    let time = parse_duration(&text.value());
    if time.is_none() {
        let message = format!("`{}` is not a duration; write one such as \"500ms\" or \"5s\"", text.value());
        problems.at(text, message);
    }
    time
}
