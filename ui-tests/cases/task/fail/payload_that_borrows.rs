// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input))]
struct Orders;

impl Consumer for Orders {
    type Payload = Order<'static>;
    type Output = ();

    async fn process_transaction(&self, order: &Transaction<Order<'static>>) -> Result<()> {
        println!("{}", order.payload().id);
        Ok(())
    }
}

#[derive(Deserialize)]
struct Order<'a> {
    id: &'a str,
}

fn main() {}
