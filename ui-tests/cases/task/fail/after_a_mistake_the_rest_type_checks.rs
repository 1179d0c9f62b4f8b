// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input, output), consumer(concurency = 8))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

#[derive(Clone, Deserialize)]
struct Settings {
    orders: MemoryConfig,
    receipts: MemoryConfig,
}

impl Orders {
    fn fields(&self) -> (&Input, &Output, usize) {
        (&self.input_connector, &self.output_connector, self.consumer_policy.concurrency)
    }
}

fn config(settings: &Settings) -> TaskConfig {
    Orders::config(OrdersWiring { input: settings.orders.clone(), output: settings.receipts.clone() })
}

ergon::main! {
    settings: Settings,
    tasks: [Orders { input: orders, output: receipts }],
}
