//! Why the CRM says nothing of a customer.

use ergon::prelude::*;

/// The failure of a question to the CRM.
#[derive(Debug, thiserror::Error, TransactionError)]
pub(crate) enum CrmError {
    #[error("the CRM has no customer {id}")]
    #[business]
    Unknown { id: String },

    #[error(transparent)]
    #[transparent]
    Http(#[from] HttpError),
}
