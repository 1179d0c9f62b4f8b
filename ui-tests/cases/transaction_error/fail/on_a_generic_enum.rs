// errors: 1
use ergon::prelude::*;

#[derive(Debug, thiserror::Error, TransactionError)]
enum OrderError<T> {
    #[error("no stock")]
    #[business]
    Stock(T),
}

fn main() {}
