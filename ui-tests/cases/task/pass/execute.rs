#![deny(warnings, missing_docs, clippy::pedantic)]
//! A task that runs its loops itself.

use ergon::prelude::*;
use futures_util::stream;

const NIGHTLY: ProducerPolicy = ProducerPolicy { concurrency: 2, ..ProducerPolicy::DEFAULT };

/// Consumes two sources, then produces.
#[ergon::task(connectors(orders, returns: Source, output: Sink), consumer(concurrency = 4), execute)]
pub struct Nightly;

impl Consumer for Nightly {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _paper: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

impl Producer for Nightly {
    type Payload = u32;
    type Output = ();

    async fn prepare_transaction(&self, number: &Transaction<u32>) -> Result<()> {
        self.output_connector.dispatch(number.forward()).await
    }
}

impl Execute for Nightly {
    async fn execute(&self, run: &Run) -> Result<()> {
        run.consume(self, &self.consumer_policy).await?;
        let returns = ConsumerPolicy { from: Some("returns".into()), ..self.consumer_policy.clone() };
        let consumed = run.consume(self, &returns).await?;
        let summary = Transaction::typed("summary", u32::try_from(consumed.tally.succeeded).system()?);
        run.produce(self, stream::iter([summary]), &NIGHTLY).await?;
        Ok(())
    }
}

fn main() {}
