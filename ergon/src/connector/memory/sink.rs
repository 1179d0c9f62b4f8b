//! The sink side of a memory queue: a dispatch adds its transactions at the end.

use super::Memory;
use crate::connector::{ConnectorError, Endpoint, Sink};
use crate::transaction::Transaction;

impl Sink for Memory {
    async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        self.queue.extend(transactions);
        Ok(())
    }

    fn writes_to(&self) -> Vec<Endpoint> {
        vec![self.queue.place()]
    }
}
