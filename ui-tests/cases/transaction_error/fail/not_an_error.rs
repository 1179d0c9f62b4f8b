// errors: 1
use ergon::prelude::*;

#[derive(Debug, TransactionError)]
enum OrderError {
    #[business]
    Stock,
}

fn main() {}
