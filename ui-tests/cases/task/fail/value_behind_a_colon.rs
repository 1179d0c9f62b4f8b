// errors: 2
use ergon::prelude::*;

#[ergon::task(connectors(input), consumer(concurrency: 8, timeout: "30s"))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

fn main() {}
