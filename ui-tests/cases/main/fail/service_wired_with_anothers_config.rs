// errors: 1
use ergon::prelude::*;
use ergon::service::Service;

#[derive(Clone, Deserialize)]
struct Settings {
    orders: MemoryConfig,
    receipts: MemoryConfig,
    mail: MailServiceConfig,
}

#[ergon::task(connectors(input, output), services(crm))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

#[derive(Service)]
struct CrmService {}

#[derive(Service)]
struct MailService {}

ergon::main! {
    settings: Settings,
    tasks: [Orders { input: orders, output: receipts, crm: mail }],
}
