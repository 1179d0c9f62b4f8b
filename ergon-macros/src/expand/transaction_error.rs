//! Expands `#[derive(TransactionError)]` into the conversion that finds the category of each variant.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Field, Ident};

use super::paths::spanned;
use super::policy::duration;
use crate::model::{Category, TransactionError};

pub(super) fn expand(model: &TransactionError) -> TokenStream {
    let TransactionError { ergon, ident, arms, transparent } = model;
    let own = arms.iter().map(|(variant, category)| own(model, variant.as_ref(), category));
    let inner = transparent.iter().map(|(variant, field)| inner(model, variant.as_ref(), field));
    quote! {
        impl #ergon::__private::HasCategory for #ident {
            fn categorize(self) -> #ergon::__private::TransactionError {
                match self {
                    #(#own,)*
                    #(#inner,)*
                }
            }
        }
    }
}

/// Writes the arm of a variant that has a category.
fn own(model: &TransactionError, variant: Option<&Ident>, category: &Category) -> TokenStream {
    let TransactionError { ergon, ident, .. } = model;
    let pattern = variant.map(|variant| quote!(@ #ident::#variant { .. }));
    let name = format_ident!("{}", category.name);
    let wait = match category.retry_after {
        Some(time) => {
            let time = duration(time);
            quote!(::core::option::Option::Some(#time))
        }
        None => quote!(::core::option::Option::None),
    };
    quote!(error #pattern => #ergon::__private::transaction_error(#ergon::__private::Category::#name, #wait, error))
}

/// Writes the arm of a variant that takes the category of the error inside.
fn inner(model: &TransactionError, variant: Option<&Ident>, field: &Field) -> TokenStream {
    let TransactionError { ergon, ident, .. } = model;
    let variant = variant.map(|variant| quote!(::#variant));
    let member = field.ident.as_ref().map_or_else(|| quote!(0), |ident| quote!(#ident));
    // Both uses have the same span, so they are the same variable, also if a macro wrote the type.
    let inside = Ident::new("inner", field.ty.span());
    let ergon = spanned(ergon, field.ty.span());
    let into = quote_spanned!(field.ty.span()=> #ergon::__private::transparent(#inside));
    quote!(#ident #variant { #member: #inside } => #into)
}
