// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input, 2nd))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, order: &Transaction<String>) -> Result<()> {
        self.second_connector.dispatch(order.forward()).await
    }
}

#[derive(Deserialize)]
struct Settings {
    orders: MemoryConfig,
    receipts: MemoryConfig,
}

ergon::main! {
    settings: Settings,
    tasks: [Orders { input: orders, second: receipts }],
}
