//! Implements the common parts of all error types: message, hint and cause.

use std::error::Error as StdError;
use std::sync::Arc;

/// An error of any type that clones share.
type Shared = Arc<dyn StdError + Send + Sync>;

/// The parts of all error types. `detail` is the part that differs.
#[derive(Debug, Clone)]
pub(crate) struct Report<K> {
    pub(crate) detail: K,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    cause: Cause,
}

#[derive(Debug, Clone)]
enum Cause {
    None,
    /// The cause of this error.
    Below(Shared),
    /// The error that this error represents: it has the message and the source of that error.
    Itself(Shared),
}

impl<K> Report<K> {
    /// Creates a report without hint and cause.
    pub(crate) fn new(detail: K, message: impl Into<String>) -> Self {
        Self { detail, message: message.into(), hint: None, cause: Cause::None }
    }

    /// Creates a report with the message and the source of another error.
    pub(crate) fn standing_for(detail: K, error: Box<dyn StdError + Send + Sync>) -> Self {
        let message = error.to_string();
        Self { detail, message, hint: None, cause: Cause::Itself(error.into()) }
    }

    /// Sets the cause.
    pub(crate) fn set_source(&mut self, source: Box<dyn StdError + Send + Sync>) {
        self.cause = Cause::Below(source.into());
    }

    /// The cause.
    pub(crate) fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.cause {
            Cause::None => None,
            Cause::Below(error) => Some(error.as_ref()),
            Cause::Itself(error) => error.source(),
        }
    }

    /// The error that this error was made from, if it has the type `E`.
    pub(crate) fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        match &self.cause {
            Cause::Itself(error) | Cause::Below(error) => error.downcast_ref(),
            Cause::None => None,
        }
    }
}

/// Implements an error type for a struct around a boxed [`Report`]: `Display`, `source`, `message` and `with_source`, and
/// for an error with hints `hint` and `with_hint`. The second argument is the visibility of the two `with` methods.
macro_rules! impl_report {
    ($error:ident, $visible:vis with_hint) => {
        impl_report!($error, $visible);

        impl $error {
            /// Adds a hint: an action that fixes the error.
            #[must_use]
            $visible fn with_hint(self, hint: impl Into<String>) -> Self {
                self.with_hint_if(Some(hint))
            }

            /// Adds a hint, if there is one.
            #[must_use]
            pub(crate) fn with_hint_if(mut self, hint: Option<impl Into<String>>) -> Self {
                if let Some(hint) = hint {
                    self.0.hint = Some(hint.into());
                }
                self
            }

            /// Adds the cause of another error, as text, and its hint.
            #[must_use]
            #[allow(dead_code, reason = "not every error explains another one")]
            pub(crate) fn explained_like(self, error: &dyn std::error::Error, hint: Option<&str>) -> Self {
                let cause = error.source().map(ToString::to_string);
                cause.into_iter().fold(self, Self::with_source).with_hint_if(hint)
            }

            /// Returns the hint: an action that fixes the error.
            pub fn hint(&self) -> Option<&str> {
                self.0.hint.as_deref()
            }
        }
    };
    ($error:ident, $visible:vis) => {
        impl $error {
            /// Returns the message, without the cause.
            pub fn message(&self) -> &str {
                &self.0.message
            }

            /// Sets the cause.
            #[must_use]
            $visible fn with_source(
                mut self,
                source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
            ) -> Self {
                self.0.set_source(source.into());
                self
            }
        }

        impl std::fmt::Display for $error {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0.message)
            }
        }

        impl std::error::Error for $error {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                self.0.source()
            }
        }
    };
}

pub(crate) use impl_report;
