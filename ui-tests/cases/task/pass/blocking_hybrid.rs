#![deny(warnings, missing_docs, clippy::pedantic)]
//! A blocking hybrid.

use ergon::prelude::*;

/// Splits orders.
#[ergon::task(connectors(input, output), consumer, producer, blocking)]
pub struct Split;

impl BlockingConsumer for Split {
    type Payload = Vec<u32>;
    type Output = Vec<Transaction>;

    fn process_transaction(&self, order: &Transaction<Vec<u32>>) -> Result<Vec<Transaction>> {
        order.payload().iter().map(|line| order.derive(line)).collect()
    }
}

impl BlockingProducer for Split {
    type Payload = u32;
    type Output = ();

    fn prepare_transaction(&self, line: &Transaction<u32>) -> Result<()> {
        self.output_connector.blocking_dispatch(line.forward())
    }
}

fn main() {}
