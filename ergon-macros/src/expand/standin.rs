//! Expands a stand-in next to the errors, so that the rest of the user's file type-checks, and an editor continues to
//! complete.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{ConstParam, GenericParam, LifetimeParam, TypeParam};

use super::task::{item, named, parameters, wiring, wiring_ident};
use crate::diagnostics::Problems;
use crate::model::Task;
use crate::parse::Shape;

/// Where the slots are known: the task's fields, its name, its wiring, a config without bounds.
pub(super) fn expand(task: &Task) -> TokenStream {
    let Task { ergon, visibility, ident, .. } = task;
    let (item, named, wiring) = (item(task), named(task), wiring(task));
    let (wiring_ident, parameters) = (wiring_ident(task), parameters(task));
    quote! {
        #item
        #named
        #wiring
        impl #ident {
            /// Stands in for the config until the mistakes above are mended.
            #visibility fn config<#(#parameters),*>(_: #wiring_ident<#(#parameters),*>) -> #ergon::__private::TaskConfig {
                #ergon::__private::stand_in()
            }
        }
    }
}

/// Where nothing is known but the name: types that the compiler knows to be wrong, so that it does not complain about
/// any use of them.
///
/// A type whose constant is an error is such a type; the first error of the macro is that constant.
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

/// The first error, for the place of a constant, and the others.
fn parted(problems: Problems) -> (Option<TokenStream>, TokenStream) {
    let mut errors = problems.into_each();
    (errors.next(), errors.collect())
}

/// A config of which nothing is known but its name.
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

/// An impl of a trait for what is no struct, or a generic one.
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

/// Next to the errors of a `#[derive(Connector)]` of which nothing can be made.
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

/// Next to the errors of a `#[derive(Service)]` of which nothing can be made.
pub(super) fn service(shape: &Shape, problems: Problems) -> TokenStream {
    let (ergon, (first, others)) = (crate::validate::ergon(), parted(problems));
    let config = unknown_config(shape, first.as_ref());
    let bounds = quote!(::core::marker::Send + ::core::marker::Sync + 'static);
    let service = implementation(shape, &quote!(#ergon::__private::Service), &bounds, &TokenStream::new());
    quote!(#others #config #service)
}

/// Next to the errors of a `#[derive(TransactionError)]` of which nothing can be made.
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

/// A parameter without its bounds, as an alias declares it.
fn declared(parameter: &GenericParam) -> TokenStream {
    match parameter {
        GenericParam::Type(TypeParam { ident, default: Some((equals, default)), .. }) => {
            quote!(#ident #equals #default)
        }
        GenericParam::Const(parameter) => quote!(#parameter),
        other => argument(other),
    }
}

/// A parameter without its bounds and its default, as a struct declares it.
fn bare(parameter: &GenericParam) -> TokenStream {
    match parameter {
        GenericParam::Const(ConstParam { ident, ty, .. }) => quote!(const #ident: #ty),
        other => argument(other),
    }
}

/// A parameter as it is passed on.
fn argument(parameter: &GenericParam) -> TokenStream {
    match parameter {
        GenericParam::Lifetime(LifetimeParam { lifetime, .. }) => quote!(#lifetime),
        GenericParam::Type(TypeParam { ident, .. }) | GenericParam::Const(ConstParam { ident, .. }) => {
            quote!(#ident)
        }
    }
}

/// A type that uses a parameter.
fn held(parameter: &GenericParam) -> TokenStream {
    match parameter {
        GenericParam::Lifetime(LifetimeParam { lifetime, .. }) => quote!(&#lifetime ()),
        GenericParam::Type(TypeParam { ident, .. }) => quote!(#ident),
        GenericParam::Const(_) => quote!(()),
    }
}
