// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input))]
struct Orders;

impl Consumer for Orders {
    type Payload = Order<&'static str>;
    type Output = ();

    async fn process_transaction(&self, order: &Transaction<Order<&'static str>>) -> Result<()> {
        println!("{}", order.payload().id);
        Ok(())
    }
}

#[derive(Deserialize)]
struct Order<T> {
    id: T,
}

fn main() {}
