//! Collecting mistakes, so that all of them come at once; each at the user's own token.

use ergon_schema::suggest::slip;
use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    errors: Option<syn::Error>,
    /// Whether something could not be read at all, so that it is not known what the user named.
    unreadable: bool,
}

impl Problems {
    /// Adds a mistake at a token: what is wrong, then what to do.
    pub(crate) fn at(&mut self, token: &(impl ToTokens + ?Sized), message: impl std::fmt::Display) {
        self.push(syn::Error::new_spanned(token, message));
    }

    /// Adds a mistake at a span.
    pub(crate) fn here(&mut self, span: Span, message: impl std::fmt::Display) {
        self.push(syn::Error::new(span, message));
    }

    /// Adds a mistake.
    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.errors {
            Some(all) => all.combine(error),
            None => self.errors = Some(error),
        }
    }

    /// Adds a mistake that hides a name.
    pub(crate) fn unreadable(&mut self, error: syn::Error) {
        self.unreadable = true;
        self.push(error);
    }

    /// Says whether a mistake hides a name.
    pub(crate) fn hide_names(&self) -> bool {
        self.unreadable
    }

    /// Keeps what was read, or the mistake that prevented it.
    pub(crate) fn keep<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// Says whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_none()
    }

    /// One `compile_error!` for each.
    pub(crate) fn into_tokens(self) -> TokenStream {
        self.into_each().collect()
    }

    /// Each `compile_error!` by itself.
    pub(crate) fn into_each(self) -> impl Iterator<Item = TokenStream> {
        self.errors.into_iter().flatten().map(|error| error.to_compile_error())
    }
}

/// ", did you mean `input`?" if one of the candidates is near, else ", expected one of `input`, `output`".
pub(crate) fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let candidates: Vec<_> = candidates.into_iter().collect();
    match slip(name, candidates.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None if candidates.is_empty() => "there are none".to_owned(),
        None => format!("expected one of {}", listed(&candidates)),
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested() {
        assert_eq!(suggestion("concurency", ["concurrency", "mode"]), "did you mean `concurrency`?");
        assert_eq!(suggestion("color", ["concurrency", "mode"]), "expected one of `concurrency`, `mode`");
    }
}
