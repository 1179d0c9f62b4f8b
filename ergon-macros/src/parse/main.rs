//! Parses the input of `ergon::main!`: its keys, and the wiring of each task.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Ident, Path, Token, Type, braced, bracketed, token};

use crate::diagnostics::Problems;

/// The keys of `ergon::main!`, in the order of the input.
#[derive(Debug)]
pub(crate) struct MainInput {
    pub(crate) keys: Vec<MainKey>,
}

/// One key of `ergon::main!`.
#[derive(Debug)]
pub(crate) enum MainKey {
    Settings(Ident, Box<Type>),
    Tasks(Ident, Vec<Wired>),
    Crate(Path),
    /// An unknown key; the parser skips its value.
    Unknown(Ident),
}

/// One entry of `tasks`: a path, and the slots wired if it is a struct.
#[derive(Debug)]
pub(crate) struct Wired {
    pub(crate) path: Path,
    pub(crate) slots: Option<Vec<Slot>>,
}

/// A slot and the field of the settings that is wired to it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) name: Ident,
    pub(crate) field: Punctuated<Ident, Token![.]>,
}

impl MainInput {
    /// Parses the keys. A key that cannot be parsed is one mistake; the keys after it are parsed.
    pub(crate) fn parse(tokens: TokenStream, problems: &mut Problems) -> Self {
        let read = |input: ParseStream<'_>| Ok(each(input, problems, key));
        Self { keys: read.parse2(tokens).unwrap_or_default() }
    }
}

/// Parses the items between commas.
fn each<T>(
    input: ParseStream<'_>,
    problems: &mut Problems,
    mut read: impl FnMut(ParseStream<'_>, &mut Problems) -> syn::Result<T>,
) -> Vec<T> {
    let mut all = Vec::new();
    while !input.is_empty() {
        match read(input, problems) {
            Ok(item) => {
                all.push(item);
                if !input.is_empty() && !input.peek(Token![,]) {
                    problems.push(input.error("expected `,`"));
                    skip_to_comma(input);
                }
            }
            Err(mistake) => {
                problems.push(mistake);
                skip_to_comma(input);
            }
        }
        // The input is empty, or a comma is next.
        let _ = input.parse::<Option<Token![,]>>();
    }
    all
}

fn key(input: ParseStream<'_>, problems: &mut Problems) -> syn::Result<MainKey> {
    let key = input.call(Ident::parse_any).map_err(|error| {
        syn::Error::new(
            error.span(),
            "expected a key, such as `settings: Settings` or `tasks: [MyTask { input: orders }]`",
        )
    })?;
    if !input.peek(Token![:]) {
        return Err(syn::Error::new(input.span(), format!("expected `:` after `{key}`")));
    }
    let colon = input.parse::<Token![:]>()?.span;
    match key.to_string().as_str() {
        "settings" => {
            let missing =
                "`settings:` has no type; write the type of your settings, such as `settings: Settings`";
            behind(input, colon, missing)?;
            Ok(MainKey::Settings(key, Box::new(input.parse()?)))
        }
        "crate" => {
            behind(input, colon, "`crate:` has no path; write `crate: my_ergon`, or remove `crate:`")?;
            Ok(MainKey::Crate(input.parse()?))
        }
        "tasks" => {
            let list = "`tasks` takes a list in square brackets; write `tasks: [MyTask { input: orders }]`";
            behind(input, colon, list)?;
            if !input.peek(token::Bracket) {
                return Err(syn::Error::new(input.span(), list));
            }
            let inside;
            bracketed!(inside in input);
            Ok(MainKey::Tasks(key, each(&inside, problems, wired)))
        }
        _ => {
            skip_to_comma(input);
            Ok(MainKey::Unknown(key))
        }
    }
}

fn wired(input: ParseStream<'_>, problems: &mut Problems) -> syn::Result<Wired> {
    let path = input.call(Path::parse_mod_style).map_err(|error| {
        syn::Error::new(error.span(), "expected a task, such as `MyTask { input: orders }`")
    })?;
    if !input.peek(token::Brace) {
        return Ok(Wired { path, slots: None });
    }
    let inside;
    braced!(inside in input);
    Ok(Wired { path, slots: Some(each(&inside, problems, slot)) })
}

fn slot(input: ParseStream<'_>, _: &mut Problems) -> syn::Result<Slot> {
    let name: Ident = input.parse().map_err(|error| {
        syn::Error::new(error.span(), "expected the name of a slot, such as `input: orders`")
    })?;
    if !input.peek(Token![:]) {
        // As in a struct literal, `input` means `input: input`.
        return Ok(Slot { field: std::iter::once(name.clone()).collect(), name });
    }
    let colon = input.parse::<Token![:]>()?.span;
    let missing = format!(
        "`{name}:` names no field of the settings; write the name of a field, such as `{name}: orders`"
    );
    behind(input, colon, missing)?;
    let field = Punctuated::parse_separated_nonempty(input).map_err(|error| {
        let message = "expected the name of a field of the settings, such as `orders` or `files.orders`";
        syn::Error::new(error.span(), message)
    })?;
    Ok(Slot { name, field })
}

/// Fails if no value follows the colon.
fn behind(input: ParseStream<'_>, colon: Span, missing: impl std::fmt::Display) -> syn::Result<()> {
    if input.is_empty() || input.peek(Token![,]) { Err(syn::Error::new(colon, missing)) } else { Ok(()) }
}

fn skip_to_comma(input: ParseStream<'_>) {
    while !input.is_empty() && !input.peek(Token![,]) {
        if input.parse::<TokenTree>().is_err() {
            return;
        }
    }
}
