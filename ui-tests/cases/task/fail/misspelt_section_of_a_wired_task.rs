// errors: 1
use ergon::prelude::*;

#[derive(Clone, Deserialize)]
struct Settings {
    orders: MemoryConfig,
    receipts: MemoryConfig,
}

#[ergon::task(conectors(input, output))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

ergon::main! {
    settings: Settings,
    tasks: [Orders { input: orders, output: receipts }],
}
