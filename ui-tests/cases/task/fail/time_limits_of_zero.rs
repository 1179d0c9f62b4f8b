// errors: 3
use ergon::prelude::*;

#[ergon::task(
    connectors(input),
    consumer(timeout = "0s", transaction_timeout = "0ms", process(timeout = "0s", backoff = "0s")),
)]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

fn main() {}
