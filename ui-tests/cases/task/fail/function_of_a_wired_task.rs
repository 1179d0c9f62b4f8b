// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input, output))]
async fn orders(order: &Transaction<String>) -> Result<()> {
    Ok(())
}

#[derive(Deserialize)]
struct Settings {
    orders: MemoryConfig,
    receipts: MemoryConfig,
}

ergon::main! {
    settings: Settings,
    tasks: [orders { input: orders, output: receipts }],
}
