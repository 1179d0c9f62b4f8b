// errors: 1
use ergon::prelude::*;
use ergon::service::Service;

#[derive(Service)]
struct CrmService {}

#[ergon::task(connectors(input, output), services(crm(CrmService)))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, order: &Transaction<String>) -> Result<()> {
        self.output_connector.dispatch(order.forward()).await
    }
}

#[derive(Deserialize)]
struct Settings {
    orders: MemoryConfig,
    receipts: MemoryConfig,
    crm: CrmServiceConfig,
}

ergon::main! {
    settings: Settings,
    tasks: [Orders { input: orders, output: receipts, crm: crm }],
}
