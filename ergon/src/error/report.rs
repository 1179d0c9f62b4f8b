//! The report under every error type: a message, a hint and a cause, written once.

use std::error::Error as StdError;
use std::sync::Arc;

/// An error of any type, as clones share it.
type Shared = Arc<dyn StdError + Send + Sync>;

/// The parts that all error types have; `detail` is what they differ in.
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
    /// The error below this one.
    Below(Shared),
    /// The error that this one stands for: the message and the source are those of that error.
    Itself(Shared),
}

impl<K> Report<K> {
    /// Makes a report without hint and cause.
    pub(crate) fn new(detail: K, message: impl Into<String>) -> Self {
        Self { detail, message: message.into(), hint: None, cause: Cause::None }
    }

    /// Makes a report with the message and the source of another error.
    pub(crate) fn standing_for(detail: K, error: Box<dyn StdError + Send + Sync>) -> Self {
        let message = error.to_string();
        Self { detail, message, hint: None, cause: Cause::Itself(error.into()) }
    }

    /// Names the error below this one.
    pub(crate) fn set_source(&mut self, source: Box<dyn StdError + Send + Sync>) {
        self.cause = Cause::Below(source.into());
    }

    /// The error below this one.
    pub(crate) fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.cause {
            Cause::None => None,
            Cause::Below(error) => Some(error.as_ref()),
            Cause::Itself(error) => error.source(),
        }
    }

    /// The error that this one was made from, if that is one of type `E`.
    pub(crate) fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        match &self.cause {
            Cause::Itself(error) | Cause::Below(error) => error.downcast_ref(),
            Cause::None => None,
        }
    }
}

/// Makes an error type of a struct around a boxed [`Report`]: `Display`, `source`, `message` and
/// `with_source`, and of an error that has hints `hint` and `with_hint`. The second argument says who may call the two
/// methods that begin with `with`.
macro_rules! impl_report {
    ($error:ident, $visible:vis with_hint) => {
        impl_report!($error, $visible);

        impl $error {
            /// Adds what the user can do about it.
            #[must_use]
            $visible fn with_hint(self, hint: impl Into<String>) -> Self {
                self.with_hint_if(Some(hint))
            }

            /// Adds what the user can do about it, if anything helps.
            #[must_use]
            pub(crate) fn with_hint_if(mut self, hint: Option<impl Into<String>>) -> Self {
                if let Some(hint) = hint {
                    self.0.hint = Some(hint.into());
                }
                self
            }

            /// Adds what another error is explained by: its cause, in words, and its hint.
            #[must_use]
            #[allow(dead_code, reason = "not every error explains another one")]
            pub(crate) fn explained_like(self, error: &dyn std::error::Error, hint: Option<&str>) -> Self {
                let cause = error.source().map(ToString::to_string);
                cause.into_iter().fold(self, Self::with_source).with_hint_if(hint)
            }

            /// What the user can do about it.
            pub fn hint(&self) -> Option<&str> {
                self.0.hint.as_deref()
            }
        }
    };
    ($error:ident, $visible:vis) => {
        impl $error {
            /// What went wrong, in words, without the cause.
            pub fn message(&self) -> &str {
                &self.0.message
            }

            /// Names the cause.
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
