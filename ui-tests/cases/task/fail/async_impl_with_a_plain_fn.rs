// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

fn main() {}
