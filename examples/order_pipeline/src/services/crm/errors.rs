//! The errors of requests to the CRM.

use ergon::prelude::*;

/// The error of a request to the CRM.
#[derive(Debug, thiserror::Error, TransactionError)]
pub(crate) enum CrmError {
    #[error("the CRM has no customer {id}")]
    #[business]
    Unknown { id: String },

    #[error(transparent)]
    #[transparent]
    Http(#[from] HttpError),
}
