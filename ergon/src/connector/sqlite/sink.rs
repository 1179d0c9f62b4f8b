//! Adds rows to the queue.

use super::Sqlite;
use super::row::NewRow;
use crate::connector::{ConnectorError, Endpoint, Sink};
use crate::transaction::Transaction;

impl Sink for Sqlite {
    async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        let opened = self.opened()?;
        let (mut rows, mut failures) = (Vec::with_capacity(transactions.len()), Vec::new());
        for (index, transaction) in transactions.iter().enumerate() {
            match NewRow::of(transaction) {
                Ok(row) => rows.push(row),
                Err(error) => failures.push((index, error)),
            }
        }
        let queue = opened.queue;
        opened.database.write(move |connection| queue.add(connection, &rows)).await?;
        if failures.is_empty() { Ok(()) } else { Err(ConnectorError::partial(failures)) }
    }

    fn writes_to(&self) -> Vec<Endpoint> {
        vec![self.endpoint()]
    }
}
