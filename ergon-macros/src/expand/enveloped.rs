//! What `#[ergon::run_fn]` becomes: the function as it was, its body called by the engine's own retries.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ItemFn;
use syn::spanned::Spanned;

use super::policy;
use crate::model::{EnvelopePolicy, Enveloped};

pub(super) fn expand(model: &Enveloped) -> TokenStream {
    let Enveloped { ergon, function, name, arguments, returns, .. } = model;
    let ItemFn { attrs, vis, sig, block, .. } = function;
    let policy = policy(model);
    let arguments = arguments.iter().map(
        |argument| quote_spanned!(argument.span()=> let #argument = #ergon::__private::again(&#argument);),
    );
    let run = quote_spanned!(returns.span()=> #ergon::__private);
    let called = if sig.asyncness.is_some() {
        quote! {
            #run::run_fn(#policy, #name, move || {
                #(#arguments)*
                async move { (async move || -> #returns #block)().await }
            })
            .await
        }
    } else {
        quote! {
            #run::run_fn_blocking(#policy, #name, move || {
                #(#arguments)*
                (move || -> #returns #block)()
            })
        }
    };
    quote!(#(#attrs)* #vis #sig { #called })
}

fn policy(model: &Enveloped) -> TokenStream {
    let ergon = &model.ergon;
    match &model.policy {
        EnvelopePolicy::Keys(settings) => {
            let policy = policy::retry(ergon, settings);
            quote!(&#policy)
        }
        EnvelopePolicy::Expr(expr) => {
            quote_spanned!(expr.span()=> ::core::borrow::Borrow::<#ergon::RetryPolicy>::borrow(&#expr))
        }
    }
}
