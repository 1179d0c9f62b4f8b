//! From model to tokens; cannot fail.

mod categorized;
mod configured;
mod enveloped;
mod main;
mod paths;
mod policy;
mod standin;
mod task;
#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, ItemFn};

use crate::diagnostics::Problems;
use crate::parse::{MainInput, TaskInput};
use crate::validate::{self, Derive};

/// `#[ergon::task]`.
pub(crate) fn task(attribute: TokenStream, item: &TokenStream) -> TokenStream {
    let mut problems = Problems::default();
    let Some(input) = TaskInput::parse(attribute, item.clone(), &mut problems) else {
        let errors = problems.into_tokens();
        return quote!(#errors #item);
    };
    let task = validate::task(input, &mut problems);
    if problems.is_empty() {
        return task::expand(&task);
    }
    let (errors, standin) = (problems.into_tokens(), standin::expand(&task));
    quote!(#errors #standin)
}

/// `#[ergon::run_fn]`.
pub(crate) fn run_fn(attribute: TokenStream, item: &TokenStream) -> TokenStream {
    let mut problems = Problems::default();
    let Ok(function) = syn::parse2::<ItemFn>(item.clone()) else {
        let message = "`#[ergon::run_fn]` goes on a function or method with a body";
        let first = item.clone().into_iter().next();
        problems.here(first.map_or_else(proc_macro2::Span::call_site, |token| token.span()), message);
        let errors = problems.into_tokens();
        return quote!(#errors #item);
    };
    let model = validate::enveloped(attribute, function, &mut problems);
    match model {
        Some(model) if problems.is_empty() => enveloped::expand(&model),
        // The function as it was stands in for what it would have become.
        _ => {
            let errors = problems.into_tokens();
            quote!(#errors #item)
        }
    }
}

/// `ergon::main!`.
pub(crate) fn main(input: TokenStream) -> TokenStream {
    let mut problems = Problems::default();
    let input = problems.keep(syn::parse2::<MainInput>(input));
    let model = input.and_then(|input| validate::main(input, &mut problems));
    match model {
        Some(model) if problems.is_empty() => main::expand(&model),
        _ => {
            let errors = problems.into_tokens();
            quote!(#errors fn main() {})
        }
    }
}

/// `#[derive(Connector)]`.
pub(crate) fn connector(item: TokenStream) -> TokenStream {
    derived(item, |input, problems| {
        validate::configured(Derive::CONNECTOR, input, problems).as_ref().map(configured::connector)
    })
}

/// `#[derive(Service)]`.
pub(crate) fn service(item: TokenStream) -> TokenStream {
    derived(item, |input, problems| {
        validate::configured(Derive::SERVICE, input, problems).as_ref().map(configured::service)
    })
}

/// `#[derive(TransactionError)]`.
pub(crate) fn transaction_error(item: TokenStream) -> TokenStream {
    derived(item, |input, problems| validate::categorized(input, problems).as_ref().map(categorized::expand))
}

/// What a derive makes, and the mistakes beside it: what comes out is a stand-in then.
fn derived(
    item: TokenStream,
    make: impl FnOnce(DeriveInput, &mut Problems) -> Option<TokenStream>,
) -> TokenStream {
    let mut problems = Problems::default();
    let input = problems.keep(syn::parse2::<DeriveInput>(item));
    let output = input.and_then(|input| make(input, &mut problems));
    let errors = problems.into_tokens();
    quote!(#errors #output)
}
