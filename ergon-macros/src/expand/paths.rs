//! Paths at the place of what the user wrote: an error in the code made of it is told of there.

use proc_macro2::Span;
use syn::{Path, Token};

/// The same path at another place.
pub(super) fn spanned(path: &Path, span: Span) -> Path {
    let mut path = path.clone();
    path.leading_colon = path.leading_colon.map(|_| Token![::](span));
    for segment in &mut path.segments {
        segment.ident.set_span(span);
    }
    path
}
