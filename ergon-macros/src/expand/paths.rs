//! Paths and variables of the generated code: which place they are shown at, and which names they mean.

use proc_macro2::Span;
use syn::{Ident, Path, Token};

/// The same path shown at another place; it means what it meant, also if a macro of the user wrote it.
pub(super) fn spanned(path: &Path, span: Span) -> Path {
    let mut path = path.clone();
    path.leading_colon = path.leading_colon.map(|colon| {
        let [first, _] = colon.spans;
        Token![::](span.resolved_at(first))
    });
    for segment in &mut path.segments {
        segment.ident.set_span(span.resolved_at(segment.ident.span()));
    }
    path
}

/// A variable of the generated code, shown at a place. No name that the user writes means it, and it is the same
/// variable whichever macro of the user wrote which part.
pub(super) fn variable(name: &str, place: Span) -> Ident {
    Ident::new(name, Span::mixed_site().located_at(place))
}
