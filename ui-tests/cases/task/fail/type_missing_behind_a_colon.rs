// errors: 2
use ergon::prelude::*;
use ergon::service::Service;

#[derive(Service)]
struct OpenaiService {}

type CrmConfig = OpenaiServiceConfig;

#[ergon::task(connectors(input, output, archive: ), services(openai: ))]
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
    crm: CrmConfig,
}

ergon::main! {
    settings: Settings,
    tasks: [Orders { input: orders, output: receipts, archive: receipts, openai: crm }],
}
