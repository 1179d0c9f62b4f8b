//! Expands `#[ergon::run_fn]`: the signature stays, and the engine's retry loop calls the body.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, ItemFn};

use super::paths::spanned;
use super::policy;
use crate::model::{Argument, RunFn, RunFnPolicy};

pub(super) fn expand(model: &RunFn) -> TokenStream {
    let RunFn { ergon, function, name, arguments, returns, .. } = model;
    let ItemFn { attrs, vis, sig, block, .. } = function;
    let policy = policy(model);
    let arguments = arguments.iter().map(|Argument { name, mutability, place }| {
        let ergon = spanned(ergon, *place);
        let again = quote_spanned!(*place=> #ergon::__private::again(&#name));
        quote!(let #mutability #name = #again;)
    });
    let here = spanned(ergon, returns.span());
    let function = if sig.asyncness.is_some() { "run_fn" } else { "run_fn_blocking" };
    let function = Ident::new(function, returns.span());
    let run = quote_spanned!(returns.span()=> #here::__private::#function);
    // The span is that of the return type, so that the compiler reports a wrong return type there.
    let called = if sig.asyncness.is_some() {
        quote_spanned! {returns.span()=>
            #run(#policy, #name, move || {
                #(#arguments)*
                #here::__private::once_async(async move || -> #returns #block)
            })
            .await
        }
    } else {
        quote_spanned! {returns.span()=>
            #run(#policy, #name, move || {
                #(#arguments)*
                #here::__private::once(move || -> #returns #block)
            })
        }
    };
    quote!(#(#attrs)* #vis #sig { #called })
}

fn policy(model: &RunFn) -> TokenStream {
    let ergon = &model.ergon;
    match &model.policy {
        RunFnPolicy::Keys(settings) => {
            let policy = policy::retry(ergon, settings);
            quote!(&#policy)
        }
        RunFnPolicy::Expr(expr) => {
            let ergon = spanned(ergon, expr.span());
            quote_spanned!(expr.span()=> #ergon::__private::policy(&#expr))
        }
    }
}
