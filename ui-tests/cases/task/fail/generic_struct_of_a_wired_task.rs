// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input, output))]
struct Orders<T, const N: usize> {
    known: [T; N],
}

impl<T: Send + Sync + 'static, const N: usize> Consumer for Orders<T, N> {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, order: &Transaction<String>) -> Result<()> {
        let _known: &T = &self.known[0];
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
