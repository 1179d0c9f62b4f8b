//! The input of `#[ergon::task]`.

use proc_macro2::TokenStream;
use syn::{Item, ItemStruct};

use super::{Entry, entries};
use crate::diagnostics::Problems;

/// The attribute's entries and the struct it stands on.
#[derive(Debug)]
pub(crate) struct TaskInput {
    pub(crate) entries: Vec<Entry>,
    pub(crate) item: ItemStruct,
}

impl TaskInput {
    /// Reads both; `None` if the item is no struct, so that nothing can be made of it.
    pub(crate) fn parse(attribute: TokenStream, item: TokenStream, problems: &mut Problems) -> Option<Self> {
        let entries = entries(attribute, problems);
        match problems.keep(syn::parse2::<Item>(item))? {
            Item::Struct(item) => Some(Self { entries, item }),
            other => {
                let message =
                    "a task is a struct: `#[ergon::task(…)]` goes on a struct with named fields, or none";
                problems.here(keyword(&other), message);
                None
            }
        }
    }
}

/// Where to point at an item that is no struct.
fn keyword(item: &Item) -> proc_macro2::Span {
    match item {
        Item::Enum(item) => item.enum_token.span,
        Item::Union(item) => item.union_token.span,
        Item::Fn(item) => item.sig.fn_token.span,
        _ => proc_macro2::Span::call_site(),
    }
}
