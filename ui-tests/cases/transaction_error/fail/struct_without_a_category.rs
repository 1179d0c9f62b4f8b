// errors: 1
use ergon::prelude::*;

#[derive(Debug, thiserror::Error, TransactionError)]
#[error("no stock")]
struct NoStock;

fn main() {}
