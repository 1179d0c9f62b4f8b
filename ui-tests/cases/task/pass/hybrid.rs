#![deny(warnings, missing_docs, clippy::pedantic)]
//! An async hybrid.

use ergon::prelude::*;

/// Splits orders.
#[ergon::task(connectors(input, output), consumer(concurrency = 2), producer(concurrency = 4))]
pub struct Split;

impl Consumer for Split {
    type Payload = Vec<u32>;
    type Output = Vec<Transaction>;

    async fn process_transaction(&self, order: &Transaction<Vec<u32>>) -> Result<Vec<Transaction>> {
        order.payload().iter().map(|line| order.derive(line)).collect()
    }
}

impl Producer for Split {
    type Payload = u32;
    type Output = ();

    async fn prepare_transaction(&self, line: &Transaction<u32>) -> Result<()> {
        self.output_connector.dispatch(line.forward()).await
    }
}

fn main() {
    let wiring = SplitWiring { input: MemoryConfig::new("a"), output: MemoryConfig::new("b") };
    let _config = Split::config(wiring).workers(2);
}
