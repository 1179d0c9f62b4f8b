//! What can go wrong between here and the other side.

/// Why a call failed; the category says whether trying again may help.
#[derive(Debug, thiserror::Error, ergon::TransactionError)]
pub(crate) enum CallError {
    #[error("the call of {url} is not written yet")]
    #[system]
    NotWritten { url: String },
}
