// errors: 1
use ergon::prelude::*;

#[derive(Debug, thiserror::Error, TransactionError)]
enum OrderError {
    #[error("no file")]
    #[transparent]
    File(Locked),
}

#[derive(Debug, thiserror::Error)]
#[error("it is locked")]
struct Locked;

fn main() {}
