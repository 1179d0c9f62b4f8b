#![deny(warnings, missing_docs, clippy::pedantic)]
//! Defaults for a whole type, and the category of the error inside.

use std::time::Duration;

use ergon::prelude::*;

/// The errors of a warehouse.
#[derive(Debug, thiserror::Error, TransactionError)]
#[system(retry_after = "5s")]
pub enum WarehouseError {
    /// No answer.
    #[error("warehouse did not answer")]
    Silent,
    /// No such article.
    #[error("no article {0}")]
    #[business]
    Unknown(String),
}

/// The errors of an order.
#[derive(Debug, thiserror::Error, TransactionError)]
pub enum OrderError {
    /// In the warehouse.
    #[error("the warehouse refused")]
    #[transparent]
    Warehouse(#[from] WarehouseError),
    /// Too late.
    #[error("too late")]
    #[timeout]
    Late {
        /// The delay.
        seconds: u64,
    },
}

/// A struct that wraps another error.
#[derive(Debug, thiserror::Error, TransactionError)]
#[error("order failed")]
#[transparent]
pub struct Failed {
    source: OrderError,
}

fn main() {
    let silent = TransactionError::from(OrderError::from(WarehouseError::Silent));
    assert_eq!((silent.category(), silent.retry_after()), (Category::System, Some(Duration::from_secs(5))));
    let unknown = Failed { source: OrderError::Warehouse(WarehouseError::Unknown("A-1".to_owned())) };
    assert_eq!(TransactionError::from(unknown).category(), Category::Business);
    let late = TransactionError::from(OrderError::Late { seconds: 3 });
    assert_eq!(late.category(), Category::Timeout);
}
