// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = std::cell::Cell<u32>;

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<std::cell::Cell<u32>> {
        Err(TransactionError::business("no"))
    }
}

fn main() {}
