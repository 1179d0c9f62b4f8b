//! Expands a stand-in next to the errors, so that the rest of the user's file type-checks and an editor still completes
//! names.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{ConstParam, GenericParam, LifetimeParam, TypeParam};

use super::task::{item, named, parameters, wiring, wiring_ident};
use crate::diagnostics::Problems;
use crate::model::Task;
use crate::parse::Shape;

/// Writes the stand-in of a task whose slots are known: its fields, its name, its wiring, and a config without bounds.
pub(super) fn expand(task: &Task) -> TokenStream {
    let Task { ergon, visibility, ident, .. } = task;
    let (item, named, wiring) = (item(task), named(task), wiring(task));
    let (wiring_ident, parameters) = (wiring_ident(task), parameters(task));
    quote! {
        #item
        #named
        #wiring
        impl #ident {
            /// Takes the place of the config until the errors above are fixed.
            #visibility fn config<#(#parameters),*>(_: #wiring_ident<#(#parameters),*>) -> #ergon::__private::TaskConfig {
                #ergon::__private::stand_in()
            }
        }
    }
}

/// Writes the stand-in of a task of which only the name is known. Its types already have an error for the compiler, so
/// the compiler reports no further error about their uses.
///
/// A type with an error in a constant has this effect. The first error of the macro takes the place of that constant.
pub(super) fn unknown(shape: Shape, problems: Problems) -> TokenStream {
    let Shape { visibility, ident, generics, kept } = shape;
    let (first, others) = parted(problems);
    let (wrong, wiring) = (format_ident!("__{ident}Unknown"), format_ident!("{ident}Wiring"));
    let parameters: Vec<_> = generics.params.iter().collect();
    let (declared, named) = (parameters.iter().map(|p| declared(p)), parameters.iter().map(|p| argument(p)));
    let (bare, held) = (parameters.iter().map(|p| bare(p)), parameters.iter().map(|p| held(p)));
    let any = parameters.iter().map(|parameter| match parameter {
        GenericParam::Lifetime(_) => quote!('static),
        GenericParam::Type(_) => quote!(()),
        GenericParam::Const(_) => quote!({ #first }),
    });
    quote! {
        #others
        #kept
        #[doc(hidden)]
        #[allow(dead_code, missing_debug_implementations, non_camel_case_types)]
        #visibility struct #wrong<#(#bare,)* const WRONG: u8>(::core::marker::PhantomData<(#(#held,)*)>);
        #[allow(dead_code, missing_docs, non_camel_case_types)]
        #visibility type #ident<#(#declared),*> = #wrong<#(#named,)* { #first }>;
        #[allow(dead_code, missing_docs, non_camel_case_types)]
        #visibility type #wiring = #wrong<#(#any,)* { #first }>;
    }
}

/// Returns the first error, which takes the place of a constant, and the other errors.
fn parted(problems: Problems) -> (Option<TokenStream>, TokenStream) {
    let mut errors = problems.into_each();
    (errors.next(), errors.collect())
}

/// Writes a config of which only the name is known.
fn unknown_config(shape: &Shape, error: Option<&TokenStream>) -> TokenStream {
    let Shape { visibility, ident, .. } = shape;
    let (wrong, config) = (format_ident!("__{ident}Unknown"), format_ident!("{ident}Config"));
    quote! {
        #[doc(hidden)]
        #[allow(dead_code, missing_debug_implementations, non_camel_case_types)]
        #visibility struct #wrong<const WRONG: u8>(());
        #[allow(dead_code, missing_docs)]
        #visibility type #config = #wrong<{ #error }>;
    }
}

/// Writes an impl of a trait for an item that is not a struct, or that is generic.
fn implementation(shape: &Shape, of: &TokenStream, bounds: &TokenStream, body: &TokenStream) -> TokenStream {
    let Shape { ident, generics, .. } = shape;
    let (parameters, arguments, wheres) = generics.split_for_impl();
    let wheres = wheres.map(|wheres| &wheres.predicates).filter(|predicates| !predicates.is_empty());
    let wheres =
        wheres.map(
            |predicates| if predicates.trailing_punct() { quote!(#predicates) } else { quote!(#predicates,) },
        );
    quote!(impl #parameters #of for #ident #arguments where #wheres Self: #bounds { #body })
}

/// Writes the stand-in of a `#[derive(Connector)]` with mistakes.
pub(super) fn connector(shape: &Shape, problems: Problems) -> TokenStream {
    let (ergon, (first, others)) = (crate::validate::ergon(), parted(problems));
    let config = unknown_config(shape, first.as_ref());
    let bounds = quote!(::core::marker::Send + ::core::marker::Sync + 'static);
    let kind = quote!(
        const KIND: &'static str = "";
    );
    let connector = implementation(shape, &quote!(#ergon::__private::Connector), &bounds, &kind);
    quote!(#others #config #connector)
}

/// Writes the stand-in of a `#[derive(Service)]` with mistakes.
pub(super) fn service(shape: &Shape, problems: Problems) -> TokenStream {
    let (ergon, (first, others)) = (crate::validate::ergon(), parted(problems));
    let config = unknown_config(shape, first.as_ref());
    let bounds = quote!(::core::marker::Send + ::core::marker::Sync + 'static);
    let service = implementation(shape, &quote!(#ergon::__private::Service), &bounds, &TokenStream::new());
    quote!(#others #config #service)
}

/// Writes the stand-in of a `#[derive(TransactionError)]` with mistakes.
pub(super) fn transaction_error(shape: &Shape, problems: Problems) -> TokenStream {
    let (ergon, errors) = (crate::validate::ergon(), problems.into_tokens());
    let categorize = quote! {
        fn categorize(self) -> #ergon::__private::TransactionError {
            #ergon::__private::stand_in()
        }
    };
    let of = quote!(#ergon::__private::HasCategory);
    let implementation = implementation(shape, &of, &quote!(::core::marker::Sized), &categorize);
    quote!(#errors #implementation)
}

/// Writes a parameter without its bounds, as an alias declares it.
fn declared(parameter: &GenericParam) -> TokenStream {
    match parameter {
        GenericParam::Type(TypeParam { ident, default: Some((equals, default)), .. }) => {
            quote!(#ident #equals #default)
        }
        GenericParam::Const(parameter) => quote!(#parameter),
        other => argument(other),
    }
}

/// Writes a parameter without its bounds and its default, as a struct declares it.
fn bare(parameter: &GenericParam) -> TokenStream {
    match parameter {
        GenericParam::Const(ConstParam { ident, ty, .. }) => quote!(const #ident: #ty),
        other => argument(other),
    }
}

/// Writes a parameter as an argument.
fn argument(parameter: &GenericParam) -> TokenStream {
    match parameter {
        GenericParam::Lifetime(LifetimeParam { lifetime, .. }) => quote!(#lifetime),
        GenericParam::Type(TypeParam { ident, .. }) | GenericParam::Const(ConstParam { ident, .. }) => {
            quote!(#ident)
        }
    }
}

/// Writes a type that uses a parameter.
fn held(parameter: &GenericParam) -> TokenStream {
    match parameter {
        GenericParam::Lifetime(LifetimeParam { lifetime, .. }) => quote!(&#lifetime ()),
        GenericParam::Type(TypeParam { ident, .. }) => quote!(#ident),
        GenericParam::Const(_) => quote!(()),
    }
}
