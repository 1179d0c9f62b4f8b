//! Expands `ergon::main!` into `fn main`, which wires the tasks with the settings.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Ident, Path, Token};

use super::paths::{spanned, variable};
use crate::model::Main;
use crate::parse::{Slot, Wired};

pub(super) fn expand(main: &Main) -> TokenStream {
    let Main { ergon, settings, tasks } = main;
    let configs = tasks.iter().map(|task| config(main, task));
    let distinct = distinct_names(ergon, tasks);
    let argument = variable("settings", settings.span());
    quote! {
        #distinct

        fn main() -> ::std::process::ExitCode {
            #ergon::__private::main::<#settings>(
                #ergon::__private::Package {
                    name: ::core::env!("CARGO_PKG_NAME"),
                    version: ::core::env!("CARGO_PKG_VERSION"),
                    manifest_dir: ::core::env!("CARGO_MANIFEST_DIR"),
                },
                |#argument: &#settings| ::core::result::Result::Ok(::std::vec![#(#configs),*]),
            )
        }
    }
}

/// Writes the config of one task: its wiring, filled from the settings, or the call of its function.
fn config(main: &Main, task: &Wired) -> TokenStream {
    let path = &task.path;
    let Some(slots) = &task.slots else {
        let (ergon, of) = (spanned(&main.ergon, path.span()), &main.settings);
        let settings = variable("settings", path.span());
        return quote_spanned! {path.span()=>
            #ergon::__private::task_config::<#of, _>(#path, #settings)?
        };
    };
    let wiring = wiring_path(path);
    let fields = slots.iter().map(|Slot { name, field }| {
        let config = clone_of(field);
        quote_spanned!(name.span()=> #name: #config)
    });
    // All tokens have the span of the task, so that rustc reports a wrong field there.
    quote_spanned!(path.span()=> #path::config(#wiring { #(#fields),* }))
}

fn clone_of(field: &Punctuated<Ident, Token![.]>) -> TokenStream {
    let settings = variable("settings", field.span());
    quote_spanned!(field.span()=> ::core::clone::Clone::clone(&#settings.#field))
}

/// Returns the path of the wiring: `tasks::OrderProcessorWiring` for `tasks::OrderProcessor`.
fn wiring_path(path: &Path) -> Path {
    let mut wiring = path.clone();
    if let Some(last) = wiring.segments.last_mut() {
        last.ident = format_ident!("{}Wiring", last.ident, span = last.ident.span());
    }
    wiring
}

/// Asserts that no two tasks have the same name, where the macro knows the structs.
fn distinct_names(ergon: &Path, tasks: &[Wired]) -> TokenStream {
    let structs: Vec<_> = tasks.iter().filter(|task| task.slots.is_some()).map(|task| &task.path).collect();
    let mut checks = TokenStream::new();
    for (index, first) in structs.iter().enumerate() {
        for second in structs.iter().skip(index + 1) {
            let ergon = spanned(ergon, second.span());
            checks.extend(quote_spanned! {second.span()=>
                const _: () = #ergon::__private::assert_distinct::<
                    #ergon::__private::Compared<{
                        #ergon::__private::same_name(<#first as #ergon::__private::Task>::NAME, <#second as #ergon::__private::Task>::NAME)
                    }>,
                    #first,
                    #second,
                >();
            });
        }
    }
    checks
}
