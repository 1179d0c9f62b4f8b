//! `key`, `key = value`, `key: Type`, `key(entries, …)`: what every attribute of Ergon is made of.

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Expr, Ident, Token, Type, parenthesized, token};

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

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = input.call(Ident::parse_any).map_err(|error| {
            syn::Error::new(error.span(), "expected a name or a key here, such as `input` or `concurrency = 8`")
        })?;
        let value = if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            Value::Is(input.parse()?)
        } else if input.peek(Token![:]) {
            input.parse::<Token![:]>()?;
            Value::Typed(input.parse()?)
        } else if input.peek(token::Paren) {
            let inside;
            let parens = parenthesized!(inside in input);
            let list = Punctuated::<Self, Token![,]>::parse_terminated(&inside)?;
            Value::List(list.into_iter().collect(), parens.span.join())
        } else {
            Value::Nothing
        };
        Ok(Self { key, value })
    }
}

/// Reads the entries between an attribute's parentheses.
pub(crate) fn entries(tokens: TokenStream) -> syn::Result<Vec<Entry>> {
    let list = Punctuated::<Entry, Token![,]>::parse_terminated.parse2(tokens)?;
    Ok(list.into_iter().collect())
}
