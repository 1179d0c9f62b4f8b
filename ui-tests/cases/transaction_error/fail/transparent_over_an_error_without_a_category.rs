// errors: 1
use ergon::prelude::*;

#[derive(Debug, thiserror::Error, TransactionError)]
enum OrderError {
    #[error("no file")]
    #[transparent]
    File(std::io::Error),
}

fn main() {}
