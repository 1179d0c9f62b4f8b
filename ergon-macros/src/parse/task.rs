//! Parses the input of `#[ergon::task]`: the sections of the attribute, and the struct.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::{Generics, Ident, Item, ItemStruct, Visibility};

use super::{Entry, entries};
use crate::diagnostics::Problems;

/// The attribute's entries and its struct.
#[derive(Debug)]
pub(crate) struct TaskInput {
    pub(crate) entries: Vec<Entry>,
    pub(crate) item: ItemStruct,
}

/// The name and the generics of an item that cannot be a task.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) visibility: Visibility,
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    /// The item itself, if it is a function. It can stay next to the stand-in, because its name does not clash with the
    /// name of a type.
    pub(crate) kept: TokenStream,
}

impl TaskInput {
    /// Parses the attribute and the item.
    ///
    /// # Errors
    /// The shape of an item that is not a struct; `None` if the item has no name.
    pub(crate) fn parse(
        attribute: TokenStream,
        item: TokenStream,
        problems: &mut Problems,
    ) -> Result<Self, Option<Box<Shape>>> {
        let entries = entries(attribute, problems);
        let item = problems.keep(syn::parse2::<Item>(item)).ok_or(None)?;
        let (place, shape) = match item {
            Item::Struct(item) => return Ok(Self { entries, item }),
            Item::Enum(item) => (item.enum_token.span, Shape::new(item.vis, item.ident, item.generics)),
            Item::Union(item) => (item.union_token.span, Shape::new(item.vis, item.ident, item.generics)),
            Item::Fn(item) => {
                let kept = item.to_token_stream();
                let shape = Shape { kept, ..Shape::new(item.vis, item.sig.ident, Generics::default()) };
                (item.sig.fn_token.span, shape)
            }
            _ => {
                problems.here(Span::call_site(), NO_STRUCT);
                return Err(None);
            }
        };
        problems.here(place, NO_STRUCT);
        Err(Some(Box::new(shape)))
    }
}

impl Shape {
    pub(crate) fn new(visibility: Visibility, ident: Ident, generics: Generics) -> Self {
        Self { visibility, ident, generics, kept: TokenStream::new() }
    }
}

const NO_STRUCT: &str =
    "a task must be a struct; write `#[ergon::task(…)]` on a struct with named fields or without fields";
