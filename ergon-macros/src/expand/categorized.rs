//! What `#[derive(TransactionError)]` becomes.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::policy::duration;
use crate::model::{Categorized, Category};

pub(super) fn expand(model: &Categorized) -> TokenStream {
    let Categorized { ergon, ident, arms } = model;
    let arms = arms.iter().map(|(variant, Category { name, retry_after })| {
        let pattern = variant.as_ref().map_or_else(|| quote!(_), |variant| quote!(#ident::#variant { .. }));
        let name = format_ident!("{name}");
        let wait = match retry_after {
            Some(time) => {
                let time = duration(*time);
                quote!(::core::option::Option::Some(#time))
            }
            None => quote!(::core::option::Option::None),
        };
        quote!(#pattern => (#ergon::Category::#name, #wait))
    });
    quote! {
        impl ::core::convert::From<#ident> for #ergon::TransactionError {
            fn from(error: #ident) -> Self {
                #[allow(unreachable_patterns)]
                let (category, retry_after) = match &error {
                    #(#arms,)*
                    // Reached only beside an error of this derive.
                    _ => (#ergon::Category::System, ::core::option::Option::None),
                };
                #ergon::__private::categorized(category, retry_after, error)
            }
        }
    }
}
