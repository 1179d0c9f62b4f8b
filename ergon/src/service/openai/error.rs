//! Why a model did not answer, or not as it was to.

use crate::service::http::HttpError;
use crate::transaction::{Category, HasCategory, TransactionError};

/// The failure of a call of the OpenAI service.
///
/// Inside a handler it converts by itself, with its [category](OpenaiError::category).
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OpenaiError {
    /// The request failed. Category: that of the inner error.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The model will not answer this. Business.
    #[error("the model refused to answer: {reason}")]
    Refused {
        /// What it said, cut to its beginning.
        reason: String,
    },
    /// The answer reached the limit of tokens before its end. Business.
    #[error("the answer was cut off at the limit of tokens")]
    CutOff,
    /// The provider's filter held the answer back. Business.
    #[error("the answer was held back by the provider's content filter")]
    Filtered,
    /// There is no text in the answer. System.
    #[error("the answer has no text")]
    Empty,
    /// The answer is not of the schema. System: the next one may be.
    #[error("the answer does not fit the schema {place}; it begins with: {begins}")]
    Mismatch {
        /// The field, line and column.
        place: String,
        /// The beginning of the answer.
        begins: String,
        /// What does not fit.
        #[source]
        source: std::sync::Arc<serde_json::Error>,
    },
    /// The stream ended before the answer did, or is none. System.
    #[error("the streamed answer broke off: {why}")]
    BrokenOff {
        /// What came instead of its end.
        why: String,
    },
    /// No schema can be made of this type. Business.
    #[error("the schema `{name}` cannot be used: {why}")]
    Schema {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

impl OpenaiError {
    /// Whether trying again can help.
    pub fn category(&self) -> Category {
        match self {
            Self::Http(error) => error.category(),
            Self::Refused { .. } | Self::CutOff | Self::Filtered | Self::Schema { .. } => Category::Business,
            Self::Empty | Self::Mismatch { .. } | Self::BrokenOff { .. } => Category::System,
        }
    }

    /// What the user can do about it.
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
