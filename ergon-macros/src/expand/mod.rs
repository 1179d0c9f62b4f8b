//! Turns a model into tokens. This stage cannot fail, because a model is valid.

mod derive_config;
mod main;
mod paths;
mod policy;
mod run_fn;
mod standin;
mod task;
#[cfg(test)]
mod tests;
mod transaction_error;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, ItemFn};

use crate::diagnostics::Problems;
use crate::parse::{MainInput, Shape, TaskInput};
use crate::validate::{self, Derive};

/// Expands `#[ergon::task]`.
pub(crate) fn task(attribute: TokenStream, item: &TokenStream) -> TokenStream {
    let mut problems = Problems::default();
    let input = match TaskInput::parse(attribute, item.clone(), &mut problems) {
        Ok(input) => input,
        Err(Some(shape)) => return standin::unknown(*shape, problems),
        Err(None) => {
            let errors = problems.into_tokens();
            return quote!(#errors #item);
        }
    };
    let task = validate::task(input, &mut problems);
    if problems.is_empty() {
        return task::expand(&task);
    }
    if !task.known || problems.hide_names() {
        return standin::unknown(Shape::new(task.visibility, task.ident, task.generics), problems);
    }
    let (errors, standin) = (problems.into_tokens(), standin::expand(&task));
    quote!(#errors #standin)
}

/// Expands `#[ergon::run_fn]`.
pub(crate) fn run_fn(attribute: TokenStream, item: &TokenStream) -> TokenStream {
    let mut problems = Problems::default();
    let Ok(function) = syn::parse2::<ItemFn>(item.clone()) else {
        let message = "`#[ergon::run_fn]` belongs on a function or method that has a body";
        let first = item.clone().into_iter().next();
        problems.here(first.map_or_else(proc_macro2::Span::call_site, |token| token.span()), message);
        let errors = problems.into_tokens();
        return quote!(#errors #item);
    };
    let model = validate::run_fn(attribute, function, &mut problems);
    match model {
        Some(model) if problems.is_empty() => run_fn::expand(&model),
        // The function without the attribute takes the place of the expanded function.
        _ => {
            let errors = problems.into_tokens();
            quote!(#errors #item)
        }
    }
}

/// Expands `ergon::main!`.
pub(crate) fn main(input: TokenStream) -> TokenStream {
    let mut problems = Problems::default();
    let input = MainInput::parse(input, &mut problems);
    let model = validate::main(input, &mut problems);
    match model {
        Some(model) if problems.is_empty() => main::expand(&model),
        _ => {
            let errors = problems.into_tokens();
            quote!(#errors fn main() {})
        }
    }
}

/// Expands `#[derive(Connector)]`.
pub(crate) fn connector(item: TokenStream) -> TokenStream {
    let make = |input, problems: &mut Problems| {
        validate::derive_config(Derive::CONNECTOR, input, problems).as_ref().map(derive_config::connector)
    };
    derived(item, make, standin::connector)
}

/// Expands `#[derive(Service)]`.
pub(crate) fn service(item: TokenStream) -> TokenStream {
    let make = |input, problems: &mut Problems| {
        validate::derive_config(Derive::SERVICE, input, problems).as_ref().map(derive_config::service)
    };
    derived(item, make, standin::service)
}

/// Expands `#[derive(TransactionError)]`.
pub(crate) fn transaction_error(item: TokenStream) -> TokenStream {
    let make = |input, problems: &mut Problems| {
        validate::transaction_error(input, problems).as_ref().map(transaction_error::expand)
    };
    derived(item, make, standin::transaction_error)
}

/// Expands a derive. With mistakes, the output is their errors and a stand-in.
fn derived(
    item: TokenStream,
    make: impl FnOnce(DeriveInput, &mut Problems) -> Option<TokenStream>,
    stand_in: impl FnOnce(&Shape, Problems) -> TokenStream,
) -> TokenStream {
    let mut problems = Problems::default();
    let Some(input) = problems.keep(syn::parse2::<DeriveInput>(item)) else { return problems.into_tokens() };
    let shape = Shape::new(input.vis.clone(), input.ident.clone(), input.generics.clone());
    match make(input, &mut problems) {
        Some(output) => {
            let errors = problems.into_tokens();
            quote!(#errors #output)
        }
        None => stand_in(&shape, problems),
    }
}
