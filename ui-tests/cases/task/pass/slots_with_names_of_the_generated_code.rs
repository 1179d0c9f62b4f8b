#![deny(warnings, missing_docs, clippy::pedantic)]
//! Slots, and a constant for a first value, with the names of variables in the generated code.

use ergon::prelude::*;

/// The first count: a constant, not a slot.
fn output() -> usize {
    3
}

/// Counts.
#[ergon::task(connectors(wiring, parts, output), consumer(from = wiring))]
pub struct Count {
    #[init(output())]
    first: usize,
}

impl Consumer for Count {
    type Payload = u32;
    type Output = usize;

    async fn process_transaction(&self, _: &Transaction<u32>) -> Result<usize> {
        Ok(self.first)
    }

    async fn handle_process_success(&self, number: &Transaction<u32>, _: &usize) -> Result<()> {
        self.parts_connector.dispatch(number.forward()).await?;
        self.output_connector.dispatch(number.forward()).await
    }
}

fn main() {
    let [wiring, parts, output] = ["a", "b", "c"].map(MemoryConfig::new);
    assert_eq!(Count::config(CountWiring { wiring, parts, output }).name(), "count");
}
