// errors: 1
use ergon::prelude::*;

#[derive(Debug, thiserror::Error, TransactionError)]
enum OrderError {
    #[error("no stock")]
    #[transparent]
    Stock(TransactionError, u32),
}

fn main() {}
