// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input, output), consumer(), producer())]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = u32;

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<u32> {
        Ok(1)
    }
}

impl Producer for Orders {
    type Payload = String;
    type Output = ();

    async fn prepare_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

fn main() {}
