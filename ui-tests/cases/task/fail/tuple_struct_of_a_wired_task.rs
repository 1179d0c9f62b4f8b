// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input, output))]
struct Orders(u32);

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, order: &Transaction<String>) -> Result<()> {
        let _number: u32 = self.0;
        self.output_connector.dispatch(order.forward()).await
    }
}

#[derive(Deserialize)]
struct Settings {
    orders: MemoryConfig,
    receipts: MemoryConfig,
}

ergon::main! {
    settings: Settings,
    tasks: [Orders { input: orders, output: receipts }],
}
