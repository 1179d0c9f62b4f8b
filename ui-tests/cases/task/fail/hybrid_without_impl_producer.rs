// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input, output), consumer(), producer())]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = Vec<Transaction>;

    async fn process_transaction(&self, order: &Transaction<String>) -> Result<Vec<Transaction>> {
        Ok(vec![order.forward()])
    }
}

fn main() {}
