// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(output), producer())]
struct Orders;

struct Order;

impl Producer for Orders {
    type Payload = Order;
    type Output = ();

    async fn prepare_transaction(&self, _order: &Transaction<Order>) -> Result<()> {
        Ok(())
    }
}

fn main() {}
