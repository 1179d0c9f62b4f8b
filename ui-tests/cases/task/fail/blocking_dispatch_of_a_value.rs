// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input, output), blocking)]
struct Orders;

impl BlockingConsumer for Orders {
    type Payload = String;
    type Output = Receipt;

    fn process_transaction(&self, order: &Transaction<String>) -> Result<Receipt> {
        Ok(Receipt { order: order.payload().clone() })
    }

    fn handle_process_success(&self, order: &Transaction<String>, receipt: &Receipt) -> Result<()> {
        self.output_connector.blocking_dispatch(receipt.clone())
    }
}

#[derive(Clone, Serialize)]
struct Receipt {
    order: String,
}

fn main() {}
