#![deny(warnings, missing_docs, clippy::pedantic)]
//! A blocking producer.

use ergon::prelude::*;

/// Counts up.
#[ergon::task(connectors(output), producer(limit = 10), blocking)]
pub struct CountUp;

impl BlockingProducer for CountUp {
    type Payload = u32;
    type Output = ();

    fn transactions(&self) -> impl Iterator<Item = Result<Transaction<u32>>> {
        (1..).map(|n: u32| Transaction::typed(n.to_string(), n))
    }

    fn prepare_transaction(&self, number: &Transaction<u32>) -> Result<()> {
        self.output_connector.blocking_dispatch(number.forward())
    }
}

fn main() {}
