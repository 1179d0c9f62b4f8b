//! Dispatching to a memory queue.

use super::Memory;
use crate::connector::{ConnectorError, Place, Sink};
use crate::transaction::Transaction;

impl Sink for Memory {
    async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        self.queue.extend(transactions);
        Ok(())
    }

    fn destinations(&self) -> Vec<Place> {
        vec![self.queue.place()]
    }
}
