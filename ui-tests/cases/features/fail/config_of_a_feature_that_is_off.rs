// errors: 1
use ergon::prelude::*;

#[derive(Clone, Deserialize)]
struct Settings {
    orders: RabbitMqConfig,
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

fn by_hand(settings: &Settings) -> Result<TaskConfig> {
    Ok(Orders::config(OrdersWiring { input: settings.orders.clone(), output: settings.receipts.clone() }))
}

ergon::main! {
    settings: Settings,
    tasks: [Orders { input: orders, output: receipts }, by_hand],
}
