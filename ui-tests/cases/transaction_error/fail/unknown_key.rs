// errors: 1
use ergon::prelude::*;

#[derive(Debug, thiserror::Error, TransactionError)]
enum OrderError {
    #[error("no stock")]
    #[system(retry_afer = "5s")]
    Stock,
}

fn main() {}
