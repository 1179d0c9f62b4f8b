//! What `ergon::main!` becomes.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Ident, Path, Token};

use crate::model::Main;
use crate::parse::Wired;

pub(super) fn expand(main: &Main) -> TokenStream {
    let Main { ergon, settings, tasks } = main;
    let configs = tasks.iter().map(|task| config(ergon, task));
    let distinct = distinct_names(ergon, tasks);
    quote! {
        #distinct

        fn main() -> ::std::process::ExitCode {
            #ergon::__private::main::<#settings>(
                #ergon::__private::Package {
                    name: ::core::env!("CARGO_PKG_NAME"),
                    version: ::core::env!("CARGO_PKG_VERSION"),
                    manifest_dir: ::core::env!("CARGO_MANIFEST_DIR"),
                },
                |settings: &#settings| ::core::result::Result::Ok(::std::vec![#(#configs),*]),
            )
        }
    }
}

/// The config of one task: its wiring filled from the settings, or what its function returns.
fn config(ergon: &Path, task: &Wired) -> TokenStream {
    let path = &task.path;
    let Some(slots) = &task.slots else {
        return quote_spanned! {path.span()=>
            #ergon::__private::task_config(#path(settings))?
        };
    };
    let wiring = wiring_path(path);
    let fields = slots.iter().map(|(slot, field)| {
        let config = clone_of(field);
        quote_spanned!(slot.span()=> #slot: #config)
    });
    // Spanned alike, so that rustc can point at the one field that is unfit.
    quote_spanned!(path.span()=> #path::config(#wiring { #(#fields),* }))
}

fn clone_of(field: &Punctuated<Ident, Token![.]>) -> TokenStream {
    quote_spanned!(field.span()=> ::core::clone::Clone::clone(&settings.#field))
}

/// `tasks::OrderProcessor` is wired by a `tasks::OrderProcessorWiring`.
fn wiring_path(path: &Path) -> Path {
    let mut wiring = path.clone();
    if let Some(last) = wiring.segments.last_mut() {
        last.ident = format_ident!("{}Wiring", last.ident, span = last.ident.span());
    }
    wiring
}

/// Two tasks of one name do not compile, where the names are known.
fn distinct_names(ergon: &Path, tasks: &[Wired]) -> TokenStream {
    let structs: Vec<_> = tasks.iter().filter(|task| task.slots.is_some()).map(|task| &task.path).collect();
    let mut checks = TokenStream::new();
    for (index, first) in structs.iter().enumerate() {
        for second in structs.iter().skip(index + 1) {
            checks.extend(quote_spanned! {second.span()=>
                const _: () = ::core::assert!(
                    !#ergon::__private::same_name(<#first as #ergon::Task>::NAME, <#second as #ergon::Task>::NAME),
                    "this task has the name of another; give it one of its own with `name = \"…\"`"
                );
            });
        }
    }
    checks
}
