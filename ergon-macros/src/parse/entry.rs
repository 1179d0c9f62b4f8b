//! `key`, `key = value`, `key: Type`, `key(entries, …)`: what every attribute of Ergon is made of.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, Ident, Lit, Token, Type, parenthesized, token};

use crate::diagnostics::Problems;

/// One entry of an attribute.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Ident,
    pub(crate) value: Value,
}

/// What stands behind an entry's key.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Nothing,
    Is(Expr),
    Typed(Type),
    List(Vec<Entry>, Span),
}

/// Reads the entries between an attribute's parentheses; what cannot be read is a mistake of its own, and the rest is
/// read all the same.
pub(crate) fn entries(tokens: TokenStream, problems: &mut Problems) -> Vec<Entry> {
    let read = |input: ParseStream<'_>| Ok(list(input, problems));
    read.parse2(tokens).unwrap_or_default()
}

fn list(input: ParseStream<'_>, problems: &mut Problems) -> Vec<Entry> {
    let mut entries = Vec::new();
    while !input.is_empty() {
        match entry(input, problems) {
            Ok(entry) => {
                entries.push(entry);
                expect_comma(input, problems);
            }
            Err(mistake) => {
                problems.push(mistake);
                skip_to_comma(input);
            }
        }
        // Nothing is left, or a comma is next, or its lack has been told.
        let _ = input.parse::<Option<Token![,]>>();
    }
    entries
}

fn entry(input: ParseStream<'_>, problems: &mut Problems) -> syn::Result<Entry> {
    let key = input.call(Ident::parse_any).map_err(|error| {
        syn::Error::new(error.span(), "expected a name or a key here, such as `input` or `concurrency = 8`")
    })?;
    let value = if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        Value::Is(input.parse()?)
    } else if input.peek(Token![:]) {
        let colon = input.parse::<Token![:]>()?;
        if input.peek(Lit) || input.peek(Token![-]) {
            let message =
                format!("a value stands behind `=`; write `{key} = {}`", input.parse::<TokenTree>()?);
            return Err(syn::Error::new(colon.span, message));
        }
        Value::Typed(input.parse()?)
    } else if input.peek(token::Paren) {
        let inside;
        let parens = parenthesized!(inside in input);
        Value::List(list(&inside, problems), parens.span.join())
    } else {
        Value::Nothing
    };
    Ok(Entry { key, value })
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
