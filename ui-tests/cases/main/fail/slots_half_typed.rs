// errors: 2
use ergon::prelude::*;

#[derive(Deserialize)]
struct Settings {
    orders: MemoryConfig,
    receipts: MemoryConfig,
}

#[ergon::task(connectors(input, output))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, order: &Transaction<String>) -> Result<()> {
        self.output_connector.dispatch(order.forward()).await
    }
}

ergon::main! {
    settings: Settings,
    tasks: [Orders { input: , output: }],
}
