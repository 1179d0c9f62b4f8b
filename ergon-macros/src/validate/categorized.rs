//! The rules of `#[derive(TransactionError)]`.

use std::time::Duration;

use syn::{Attribute, Data, DeriveInput, Expr, ExprLit, Ident, Lit, Meta};

use crate::diagnostics::{Problems, suggestion};
use crate::model::{Categorized, Category};
use crate::parse::{Value, entries};

const CATEGORIES: [(&str, &str); 3] =
    [("business", "Business"), ("system", "System"), ("timeout", "Timeout")];

/// Makes the model of an error whose variants have categories.
pub(crate) fn categorized(input: DeriveInput, problems: &mut Problems) -> Option<Categorized> {
    if !input.generics.params.is_empty() {
        problems.at(&input.generics, "an error with a category cannot be generic; name the types");
        return None;
    }
    let default = category(&input.attrs, problems);
    let mut arms = Vec::new();
    match input.data {
        Data::Enum(data) => {
            for variant in data.variants {
                match category(&variant.attrs, problems).or(default) {
                    Some(category) => arms.push((Some(variant.ident), category)),
                    None => no_category(&variant.ident, problems),
                }
            }
        }
        Data::Struct(_) => match default {
            Some(category) => arms.push((None, category)),
            None => no_category(&input.ident, problems),
        },
        Data::Union(data) => problems.at(&data.union_token, "an error is an enum or a struct"),
    }
    Some(Categorized { ergon: super::ergon(), ident: input.ident, arms })
}

fn no_category(ident: &Ident, problems: &mut Problems) {
    let message = format!(
        "`{ident}` has no category; add `#[business]` (never retried), `#[system]` or `#[timeout]` (retried)"
    );
    problems.at(ident, message);
}

fn category(attributes: &[Attribute], problems: &mut Problems) -> Option<Category> {
    let mut found = None;
    for attribute in attributes {
        let Some((_, name)) = CATEGORIES.iter().find(|(word, _)| attribute.path().is_ident(word)) else {
            continue;
        };
        if found.is_some() {
            problems.at(attribute, "an error has one category; keep one of them");
            continue;
        }
        let retry_after = retry_after(attribute, name, problems);
        found = Some(Category { name, retry_after });
    }
    found
}

fn retry_after(attribute: &Attribute, category: &str, problems: &mut Problems) -> Option<Duration> {
    let Meta::List(list) = &attribute.meta else { return None };
    let entries = entries(list.tokens.clone(), problems);
    let entry = entries.first()?;
    if entry.key != "retry_after" {
        let near = suggestion(&entry.key.to_string(), ["retry_after"]);
        problems.at(&entry.key, format!("`{}` is no key of a category; {near}", entry.key));
        return None;
    }
    if category == "Business" {
        let message = "a business error is never retried, so it has no `retry_after`; make it `#[system(…)]`";
        problems.at(&entry.key, message);
        return None;
    }
    let Value::Is(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) = &entry.value else {
        problems.at(&entry.key, "`retry_after` takes a duration; write `retry_after = \"5s\"`");
        return None;
    };
    let time = humantime::parse_duration(&text.value()).ok();
    if time.is_none() {
        let message = format!("`{}` is no duration; write one such as \"500ms\" or \"5s\"", text.value());
        problems.at(text, message);
    }
    time
}
