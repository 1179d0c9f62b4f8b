//! What comes out beside the errors of a task: its fields, its name, its wiring, a config without bounds. So the rest
//! of the user's file type-checks, and an editor goes on completing.

use proc_macro2::TokenStream;
use quote::quote;

use super::task::{item, named, parameters, wiring, wiring_ident};
use crate::model::Task;

pub(super) fn expand(task: &Task) -> TokenStream {
    let Task { ergon, visibility, ident, .. } = task;
    if !task.generics.params.is_empty() {
        return item(task);
    }
    let (item, named, wiring) = (item(task), named(task), wiring(task));
    let (wiring_ident, parameters) = (wiring_ident(task), parameters(task));
    quote! {
        #item
        #named
        #wiring
        impl #ident {
            /// Stands in for the config until the mistakes above are mended.
            #visibility fn config<#(#parameters),*>(_: #wiring_ident<#(#parameters),*>) -> #ergon::TaskConfig {
                #ergon::__private::stand_in()
            }
        }
    }
}
