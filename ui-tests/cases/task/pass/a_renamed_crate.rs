extern crate ergon as engine;

use engine::prelude::*;

#[engine::task(crate = engine, connectors(input), consumer(concurrency = 2))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

fn main() {}
