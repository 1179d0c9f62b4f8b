#![deny(warnings, missing_docs, clippy::pedantic)]
//! An async producer.

use ergon::prelude::*;
use futures_util::stream;

/// Counts up.
#[ergon::task(connectors(output, dlq), producer(concurrency = 4, prepare(max_attempts = 3), dead_letter = dlq))]
pub struct CountUp {
    #[init(3)]
    most: u32,
}

impl Producer for CountUp {
    type Payload = u32;
    type Output = u32;

    fn transactions(&self) -> impl Stream<Item = Result<Transaction<u32>>> + Send {
        stream::iter((1..=self.most).map(|n| Transaction::typed(format!("n-{n}"), n)))
    }

    async fn prepare_transaction(&self, number: &Transaction<u32>) -> Result<u32> {
        Ok(number.payload() * 10)
    }

    async fn handle_prepare_success(&self, number: &Transaction<u32>, tenfold: &u32) -> Result<()> {
        self.output_connector.dispatch(number.derive(tenfold)?).await
    }
}

fn main() {
    let wiring = CountUpWiring { output: MemoryConfig::new("a"), dlq: MemoryConfig::new("b") };
    assert_eq!(CountUp::config(wiring).producer(|policy| policy.concurrency = 8).name(), "count-up");
}
