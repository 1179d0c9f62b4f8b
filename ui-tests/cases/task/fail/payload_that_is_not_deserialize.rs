// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input))]
struct Orders;

impl Consumer for Orders {
    type Payload = Order;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<Order>) -> Result<()> {
        Ok(())
    }
}

struct Order;

fn main() {}
