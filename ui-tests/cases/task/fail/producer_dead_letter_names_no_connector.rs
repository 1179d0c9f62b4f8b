// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(output, dlq), producer(dead_letter = dql))]
struct Orders;

impl Producer for Orders {
    type Payload = String;
    type Output = ();

    async fn prepare_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

fn main() {}
