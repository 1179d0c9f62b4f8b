//! Recovers lists in a wrong notation, such as `connectors = [input]`. So the notation is the only mistake, and the
//! names in the list stay known.

use ergon_schema::suggest::slip;
use proc_macro2::Span;
use syn::punctuated::Punctuated;
use syn::{Expr, ExprLit, Ident, Lit, LitStr, Token};

use super::keys::is_policy_key;
use super::sections::{SECTIONS, section};
use crate::diagnostics::Problems;
use crate::parse::{Entry, Value};

/// Returns the sections of the attribute, with the recovered lists.
pub(super) fn recover(entries: Vec<Entry>, problems: &mut Problems) -> Vec<Entry> {
    let entries = entries.into_iter().map(|entry| listed(entry, problems)).collect();
    gathered(entries, problems)
}

/// Recovers `connectors = [input, output]` as `connectors(input, output)`.
fn listed(entry: Entry, problems: &mut Problems) -> Entry {
    let (Value::Is(expr), true) = (&entry.value, entry.key == "connectors" || entry.key == "services") else {
        return entry;
    };
    let names: Option<Vec<Ident>> = match expr {
        Expr::Array(array) => array.elems.iter().map(name).collect(),
        Expr::Tuple(tuple) => tuple.elems.iter().map(name).collect(),
        Expr::Paren(paren) => name(&paren.expr).map(|name| vec![name]),
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => named_in(text),
        single => name(single).map(|name| vec![name]),
    };
    let Some(names) = names else { return entry };
    let key = &entry.key;
    problems.at(key, format!("`{key}` takes a list in parentheses; write `{key}({})`", in_a_row(&names)));
    let list = names.into_iter().map(|key| Entry { key, value: Value::Nothing }).collect();
    Entry { value: Value::List(list, Span::call_site()), key: entry.key }
}

/// Returns the names in a text such as `"input, output"`.
fn named_in(text: &LitStr) -> Option<Vec<Ident>> {
    text.parse_with(Punctuated::<Ident, Token![,]>::parse_terminated)
        .ok()
        .map(|names| names.into_iter().collect())
}

fn name(expr: &Expr) -> Option<Ident> {
    if let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = expr {
        return text.parse().ok();
    }
    if let Expr::Path(path) = expr { path.path.get_ident().cloned() } else { None }
}

/// Recovers `task(input, output)` as `task(connectors(input, output))`, if there is no section `connectors`.
fn gathered(entries: Vec<Entry>, problems: &mut Problems) -> Vec<Entry> {
    if section(&entries, "connectors").is_some() {
        return entries;
    }
    let (list, mut rest): (Vec<_>, Vec<_>) = entries.into_iter().partition(could_be_connector);
    let Some(first) = list.first().map(|entry| entry.key.clone()) else { return rest };
    let names: Vec<_> = list.iter().map(|entry| entry.key.clone()).collect();
    let message = format!("connectors belong in their own section; write `connectors({})`", in_a_row(&names));
    problems.at(&first, message);
    let span = first.span();
    rest.push(Entry { key: Ident::new("connectors", span), value: Value::List(list, span) });
    rest
}

fn could_be_connector(entry: &Entry) -> bool {
    let name = entry.key.to_string();
    let alone = matches!(entry.value, Value::Nothing | Value::Typed(_));
    alone && slip(&name, SECTIONS).is_none() && !is_policy_key(&name)
}

fn in_a_row(names: &[Ident]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
