#![deny(warnings, missing_docs, clippy::pedantic)]
//! A blocking consumer.

use ergon::prelude::*;

/// Hashes files.
#[ergon::task(connectors(input, output), consumer(concurrency = 2), blocking, workers = 4)]
pub struct Hash;

impl BlockingConsumer for Hash {
    type Payload = Bytes;
    type Output = usize;

    fn process_transaction(&self, file: &Transaction<Bytes>) -> Result<usize> {
        if file.is_cancelled() { Err(TransactionError::timeout("late")) } else { Ok(file.payload().len()) }
    }

    fn handle_process_success(&self, file: &Transaction<Bytes>, length: &usize) -> Result<()> {
        self.output_connector.blocking_dispatch(file.derive(length)?)
    }
}

fn main() {}
