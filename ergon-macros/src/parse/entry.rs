//! Parses the entries of every attribute of Ergon: `key`, `key = value`, `key: Type`, `key(entries, …)`. All macros
//! share this parser, so that they report mistakes in the same way.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, Ident, Lit, LitStr, Token, Type, braced, bracketed, parenthesized, token};

use super::groups::{ungrouped, ungrouped_type};
use crate::diagnostics::Problems;

/// One entry of an attribute.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Ident,
    pub(crate) value: Value,
}

/// The part after an entry's key.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Nothing,
    Is(Expr),
    Typed(Type),
    List(Vec<Entry>, Span),
    /// The value cannot be parsed. Its error is already collected, so no check reports the value again.
    Unreadable,
}

/// Parses the entries between an attribute's parentheses. An entry that cannot be parsed is one mistake; the entries
/// after it are parsed.
pub(crate) fn entries(tokens: TokenStream, problems: &mut Problems) -> Vec<Entry> {
    let read = |input: ParseStream<'_>| Ok(list(input, "", problems));
    read.parse2(tokens).unwrap_or_default()
}

fn list(input: ParseStream<'_>, section: &str, problems: &mut Problems) -> Vec<Entry> {
    let mut quoted = Vec::new();
    let entries = list_with_quotes(input, section, &mut quoted, problems);
    if let Some(first) = quoted.first() {
        let names: Vec<_> = quoted.iter().map(LitStr::value).collect();
        problems.at(first, format!("a name is written without quotes; write `{}`", names.join(", ")));
    }
    entries
}

/// The entries of a list, and the names among them that are in quotes.
fn list_with_quotes(
    input: ParseStream<'_>,
    section: &str,
    quoted: &mut Vec<LitStr>,
    problems: &mut Problems,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    while !input.is_empty() {
        match entry(input, section, quoted, problems) {
            Ok(entry) => {
                entries.push(entry);
                expect_comma(input, problems);
            }
            Err(mistake) => {
                problems.unreadable(mistake);
                skip_to_comma(input);
            }
        }
        // The input is empty, a comma is next, or the missing comma is already a mistake.
        let _ = input.parse::<Option<Token![,]>>();
    }
    entries
}

fn entry(
    input: ParseStream<'_>,
    section: &str,
    quoted: &mut Vec<LitStr>,
    problems: &mut Problems,
) -> syn::Result<Entry> {
    let key = key(input, quoted, problems)?;
    let value = if input.peek(Token![::]) {
        let message =
            format!("expected a name before the type; write `{}: {key}::…`", key.to_string().to_lowercase());
        return Err(syn::Error::new(key.span(), message));
    } else if input.peek(Token![=]) {
        let equals = input.parse::<Token![=]>()?;
        assigned(input, &key, equals.span, problems)
    } else if input.peek(Token![:]) {
        let colon = input.parse::<Token![:]>()?;
        typed(input, &key, colon.span, section, problems)?
    } else if input.peek(token::Paren) {
        let inside;
        let parens = parenthesized!(inside in input);
        Value::List(list(&inside, &key.to_string(), problems), parens.span.join())
    } else if input.peek(token::Bracket) || input.peek(token::Brace) {
        bracketed_list(input, &key, problems)?
    } else {
        Value::Nothing
    };
    Ok(Entry { key, value })
}

/// Parses a name. A name in quotes or with a `-` is a mistake, and the parser continues with the name that the user
/// means.
fn key(input: ParseStream<'_>, quoted: &mut Vec<LitStr>, problems: &mut Problems) -> syn::Result<Ident> {
    if input.peek(LitStr) {
        let text: LitStr = input.parse()?;
        let name = text.parse_with(Ident::parse_any).map_err(|_| no_name(text.span()))?;
        quoted.push(text);
        return Ok(name);
    }
    let first = input.call(Ident::parse_any).map_err(|error| no_name(error.span()))?;
    let (mut written, mut meant) = (first.to_string(), first.to_string());
    while input.peek(Token![-]) && input.peek2(Ident::peek_any) {
        input.parse::<Token![-]>()?;
        let part = input.call(Ident::parse_any)?;
        written = format!("{written}-{part}");
        meant = format!("{meant}_{part}");
    }
    if written == meant {
        return Ok(first);
    }
    problems.at(&first, format!("`{written}` is not a valid name in Rust; write `{meant}`"));
    Ok(Ident::new(&meant, first.span()))
}

fn no_name(span: Span) -> syn::Error {
    syn::Error::new(span, "expected a name or a key, such as `input` or `concurrency = 8`")
}

/// Parses the part after `key =`.
fn assigned(input: ParseStream<'_>, key: &Ident, equals: Span, problems: &mut Problems) -> Value {
    if input.is_empty() || input.peek(Token![,]) {
        problems
            .here(equals, format!("`{key} =` has no value; write the value after `=`, or remove `{key}`"));
        return Value::Unreadable;
    }
    match input.parse() {
        Ok(expr) => Value::Is(ungrouped(expr)),
        Err(mistake) => {
            problems.push(mistake);
            skip_to_comma(input);
            Value::Unreadable
        }
    }
}

/// Parses the part after `key:`.
fn typed(
    input: ParseStream<'_>,
    key: &Ident,
    colon: Span,
    section: &str,
    problems: &mut Problems,
) -> syn::Result<Value> {
    if input.is_empty() || input.peek(Token![,]) {
        let example = if section == "services" { "CrmService" } else { "Sink" };
        let write = format!("write the type after `:`, such as `{key}: {example}`, or remove `:`");
        problems.here(colon, format!("`{key}:` has no type; {write}"));
        return Ok(Value::Unreadable);
    }
    if input.peek(Lit) || input.peek(Token![-]) {
        let message = format!("a value is given with `=`; write `{key} = {}`", input.parse::<TokenTree>()?);
        problems.here(colon, message);
        skip_to_comma(input);
        return Ok(Value::Unreadable);
    }
    if input.peek(token::Bracket) || input.peek(token::Brace) || input.peek(token::Paren) {
        return bracketed_list(input, key, problems);
    }
    match input.parse() {
        Ok(ty) => Ok(Value::Typed(ungrouped_type(ty))),
        Err(mistake) => {
            problems.push(mistake);
            skip_to_comma(input);
            Ok(Value::Unreadable)
        }
    }
}

/// Parses `connectors[input, output]` and `connectors: (input, output)` as `connectors(input, output)`, with a mistake.
fn bracketed_list(input: ParseStream<'_>, key: &Ident, problems: &mut Problems) -> syn::Result<Value> {
    let inside;
    let span = if input.peek(token::Bracket) {
        bracketed!(inside in input).span.join()
    } else if input.peek(token::Brace) {
        braced!(inside in input).span.join()
    } else {
        parenthesized!(inside in input).span.join()
    };
    // Names in quotes are not a second mistake, because the correction below writes them without quotes.
    let entries = list_with_quotes(&inside, &key.to_string(), &mut Vec::new(), problems);
    let are_names = entries.iter().all(|entry| matches!(entry.value, Value::Nothing));
    let names: Vec<_> = entries.iter().map(|entry| entry.key.to_string()).collect();
    let written = if are_names { names.join(", ") } else { "…".to_owned() };
    problems.at(key, format!("`{key}` takes a list in parentheses; write `{key}({written})`"));
    Ok(Value::List(entries, span))
}

fn expect_comma(input: ParseStream<'_>, problems: &mut Problems) {
    if input.is_empty() || input.peek(Token![,]) {
        return;
    }
    problems.push(input.error("expected `,`"));
    if !input.peek(Ident::peek_any) {
        skip_to_comma(input);
    }
}

fn skip_to_comma(input: ParseStream<'_>) {
    while !input.is_empty() && !input.peek(Token![,]) {
        if input.parse::<TokenTree>().is_err() {
            return;
        }
    }
}
