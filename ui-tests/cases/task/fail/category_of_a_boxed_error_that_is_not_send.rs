// errors: 1
use ergon::prelude::*;

fn stock() -> Result<u32, Box<dyn std::error::Error>> {
    Err("no stock".into())
}

#[ergon::task(connectors(input, output))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = Receipt;

    async fn process_transaction(&self, order: &Transaction<String>) -> Result<Receipt> {
        stock().system()?;
        Ok(Receipt { order: order.payload().clone() })
    }

    async fn handle_process_success(&self, order: &Transaction<String>, receipt: &Receipt) -> Result<()> {
        self.output_connector.dispatch(order.derive(receipt)?).await
    }
}

#[derive(Clone, Serialize)]
struct Receipt {
    order: String,
}

fn main() {}
