//! Sets the span and the scope of paths and variables in the generated code, so that errors appear at the user's tokens
//! and no name of the user clashes with a generated one.

use proc_macro2::Span;
use syn::{Ident, Path, Token};

/// Returns the same path with another span. `$crate` still means the crate of the macro that wrote it.
pub(super) fn spanned(path: &Path, span: Span) -> Path {
    let mut path = path.clone();
    path.leading_colon = path.leading_colon.map(|_| Token![::](span));
    for segment in &mut path.segments {
        let is_crate_of_macro = segment.ident == "$crate";
        segment.ident.set_span(if is_crate_of_macro { span.resolved_at(segment.ident.span()) } else { span });
    }
    path
}

/// Makes a variable of the generated code, with a span for errors. No name of the user can refer to the variable. It
/// stays the same variable if macros of the user wrote parts of the code.
pub(super) fn variable(name: &str, place: Span) -> Ident {
    Ident::new(name, Span::mixed_site().located_at(place))
}
