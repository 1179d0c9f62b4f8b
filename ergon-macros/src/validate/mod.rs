//! Turns syntax into a model, and checks the rules. Each check is one rule and collects its mistakes, so that one build
//! reports all of them.

mod derive_config;
mod duration;
mod keys;
mod main;
mod policy;
mod recover;
mod run_fn;
mod sections;
mod task;
mod transaction_error;

pub(crate) use derive_config::{CAPABILITIES, Derive, derive_config};
pub(crate) use main::main;
pub(crate) use run_fn::run_fn;
use task::crate_path;
pub(crate) use task::{camel_case, kebab_case, task};
pub(crate) use transaction_error::transaction_error;

use proc_macro2::Span;
use syn::{Path, parse_quote_spanned};

/// Returns the path of `ergon` in the user's crate. Cargo knows it, so a renamed dependency works.
pub(crate) fn ergon() -> Path {
    let name = match proc_macro_crate::crate_name("ergon") {
        Ok(proc_macro_crate::FoundCrate::Name(name)) => name,
        Ok(proc_macro_crate::FoundCrate::Itself) | Err(_) => "ergon".to_owned(),
    };
    let ident = syn::Ident::new(&name, Span::call_site());
    parse_quote_spanned!(Span::call_site()=> ::#ident)
}
