//! The error of a call to a language model.

use crate::service::http::HttpError;
use crate::transaction::{Category, HasCategory, TransactionError};

/// The failure of a call of the OpenAI service.
///
/// Inside a handler, `?` converts it with its [category](OpenaiError::category).
///
/// ```
/// use ergon::prelude::*;
/// use ergon::service::openai::OpenaiError;
///
/// assert_eq!(TransactionError::from(OpenaiError::CutOff).category(), Category::Business);
/// assert_eq!(OpenaiError::CutOff.hint(), Some("raise the prompt's `max_tokens`, or ask for less"));
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OpenaiError {
    /// The request failed. Category: that of the inner error.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The model refused to answer. Business.
    #[error("the model refused to answer: {reason}")]
    Refused {
        /// The beginning of the model's own reason.
        reason: String,
    },
    /// The answer reached the limit of tokens before its end. Business, because a retry ends in the same way.
    #[error("the answer was cut off at the limit of tokens")]
    CutOff,
    /// The provider's filter held the answer back. Business.
    #[error("the answer was held back by the provider's content filter")]
    Filtered,
    /// The answer has no text, or embeddings are missing. System.
    #[error("the answer has no text")]
    Empty,
    /// The answer does not fit the schema. System, because the next answer may fit.
    #[error("the answer does not fit the schema {place}; it begins with: {begins}")]
    Mismatch {
        /// The field, line and column.
        place: String,
        /// The beginning of the answer.
        begins: String,
        /// The decoder's error.
        #[source]
        source: std::sync::Arc<serde_json::Error>,
    },
    /// The stream ended before the answer did, or is not a stream of the protocol. System.
    #[error("the streamed answer broke off: {why}")]
    BrokenOff {
        /// The provider's message, or the unexpected data.
        why: String,
    },
    /// No schema can be made of this type. Business.
    #[error("the schema `{name}` cannot be used: {why}")]
    Schema {
        /// The schema's name.
        name: String,
        /// The problem.
        why: String,
    },
}

impl OpenaiError {
    /// The category, which decides whether a retry can help.
    pub fn category(&self) -> Category {
        match self {
            Self::Http(error) => error.category(),
            Self::Refused { .. } | Self::CutOff | Self::Filtered | Self::Schema { .. } => Category::Business,
            Self::Empty | Self::Mismatch { .. } | Self::BrokenOff { .. } => Category::System,
        }
    }

    /// A hint for the user, if anything helps.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Http(error) => error.hint(),
            Self::CutOff => Some("raise the prompt's `max_tokens`, or ask for less"),
            _ => None,
        }
    }
}

impl HasCategory for OpenaiError {
    fn categorize(self) -> TransactionError {
        match self {
            Self::Http(error) => error.categorize(),
            error => TransactionError::from_error(error.category(), error),
        }
    }
}
