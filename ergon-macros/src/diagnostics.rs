//! Collects the mistakes of one macro call, so that the compiler reports all of them, each at the user's token.

use ergon_schema::suggest::slip;
use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

/// The mistakes of one macro call.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    errors: Option<syn::Error>,
    /// Whether a part of the input could not be parsed, so that the names in it are unknown.
    unreadable: bool,
}

impl Problems {
    /// Adds a mistake at a token. The message names the mistake, then the text to write instead.
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

    /// Returns whether a mistake hides a name.
    pub(crate) fn hide_names(&self) -> bool {
        self.unreadable
    }

    /// Returns the value, or adds the mistake and returns none.
    pub(crate) fn keep<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// Returns whether there are no mistakes.
    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_none()
    }

    /// Returns one `compile_error!` for each mistake.
    pub(crate) fn into_tokens(self) -> TokenStream {
        self.into_each().collect()
    }

    /// Returns each `compile_error!` separately.
    pub(crate) fn into_each(self) -> impl Iterator<Item = TokenStream> {
        self.errors.into_iter().flatten().map(|error| error.to_compile_error())
    }
}

/// Returns "did you mean `input`?" if the name misspells a candidate, else "expected one of `input`, `output`".
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
