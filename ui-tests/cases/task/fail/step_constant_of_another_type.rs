// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input), consumer(process = NEVER))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

const NEVER: u32 = 0;

fn main() {}
