//! A small program for tests of a durable queue: copies the transactions of one queue to another.

use ergon::prelude::*;

#[ergon::task(connectors(input, output), consumer(concurrency = 8, batch_size = 16))]
struct CopyQueue;

impl Consumer for CopyQueue {
    type Payload = u32;
    type Output = ();

    async fn process_transaction(&self, number: &Transaction<u32>) -> Result<()> {
        self.output_connector.dispatch(number.forward()).await
    }
}

#[derive(Clone, Deserialize)]
struct Settings {
    numbers: SqliteConfig,
    copies: SqliteConfig,
}

ergon::main! {
    settings: Settings,
    tasks: [CopyQueue { input: numbers, output: copies }],
}
