use std::time::Duration;

use ergon::prelude::*;

#[derive(Debug, thiserror::Error, ergon::TransactionError)]
#[system]
enum OrderError {
    #[error("order {0} failed validation")]
    #[business]
    Invalid(String),
    #[error("warehouse did not answer")]
    #[system(retry_after = "5s")]
    Warehouse(#[source] std::io::Error),
    #[error("too late")]
    #[timeout]
    Late { after: u32 },
    #[error("by default")]
    Other,
}

fn fails(error: OrderError) -> Result<()> {
    Err(error)?
}

fn main() {
    let business = fails(OrderError::Invalid("a".into())).unwrap_err();
    assert_eq!((business.category(), business.message()), (Category::Business, "order a failed validation"));
    assert!(matches!(business.downcast_ref(), Some(OrderError::Invalid(id)) if id == "a"));
    let system = fails(OrderError::Warehouse(std::io::Error::other("down"))).unwrap_err();
    assert_eq!((system.category(), system.retry_after()), (Category::System, Some(Duration::from_secs(5))));
    assert!(std::error::Error::source(&system).is_some());
    assert_eq!(fails(OrderError::Late { after: 3 }).unwrap_err().category(), Category::Timeout);
    assert_eq!(fails(OrderError::Other).unwrap_err().category(), Category::System);
}
