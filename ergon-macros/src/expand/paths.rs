//! Sets the span and the scope of paths and variables in the generated code.

use proc_macro2::Span;
use syn::{Ident, Path, Token};

/// The same path at another place; `$crate` still means the crate of the macro that wrote it.
pub(super) fn spanned(path: &Path, span: Span) -> Path {
    let mut path = path.clone();
    path.leading_colon = path.leading_colon.map(|_| Token![::](span));
    for segment in &mut path.segments {
        let is_crate_of_macro = segment.ident == "$crate";
        segment.ident.set_span(if is_crate_of_macro { span.resolved_at(segment.ident.span()) } else { span });
    }
    path
}

/// A variable of the generated code, shown at a place. No name that the user writes means it, and it is the same
/// variable whichever macro of the user wrote which part.
pub(super) fn variable(name: &str, place: Span) -> Ident {
    Ident::new(name, Span::mixed_site().located_at(place))
}
