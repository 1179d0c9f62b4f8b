//! The input of `ergon::main!`.

use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Ident, Path, Token, Type, braced, bracketed, token};

/// The keys of `ergon::main!` in the order they were written.
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
    /// A key that is not known; what stands behind it was skipped.
    Unknown(Ident),
}

/// One entry of `tasks`: a path, and the slots wired if it is a struct.
#[derive(Debug)]
pub(crate) struct Wired {
    pub(crate) path: Path,
    pub(crate) slots: Option<Vec<(Ident, Punctuated<Ident, Token![.]>)>>,
}

impl Parse for MainInput {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let keys = Punctuated::<MainKey, Token![,]>::parse_terminated(input)?;
        Ok(Self { keys: keys.into_iter().collect() })
    }
}

impl Parse for MainKey {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = input.call(Ident::parse_any)?;
        input.parse::<Token![:]>()?;
        match key.to_string().as_str() {
            "settings" => Ok(Self::Settings(key, Box::new(input.parse()?))),
            "crate" => Ok(Self::Crate(input.parse()?)),
            "tasks" => {
                let inside;
                bracketed!(inside in input);
                let tasks = Punctuated::<Wired, Token![,]>::parse_terminated(&inside)?;
                Ok(Self::Tasks(key, tasks.into_iter().collect()))
            }
            _ => {
                while !input.is_empty() && !input.peek(Token![,]) {
                    input.parse::<proc_macro2::TokenTree>()?;
                }
                Ok(Self::Unknown(key))
            }
        }
    }
}

impl Parse for Wired {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let path = input.call(Path::parse_mod_style)?;
        if !input.peek(token::Brace) {
            return Ok(Self { path, slots: None });
        }
        let inside;
        braced!(inside in input);
        let slots = Punctuated::<Slot, Token![,]>::parse_terminated(&inside)?;
        Ok(Self { path, slots: Some(slots.into_iter().map(|slot| (slot.name, slot.field)).collect()) })
    }
}

struct Slot {
    name: Ident,
    field: Punctuated<Ident, Token![.]>,
}

impl Parse for Slot {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name: Ident = input.parse()?;
        if !input.peek(Token![:]) {
            // As in a struct literal: `input` stands for `input: input`.
            return Ok(Self { field: std::iter::once(name.clone()).collect(), name });
        }
        input.parse::<Token![:]>()?;
        let field = Punctuated::parse_separated_nonempty(input)?;
        Ok(Self { name, field })
    }
}
