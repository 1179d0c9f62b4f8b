//! Dead letters in the queue, and the way back into it.

use std::sync::Arc;

use super::row::NewRow;
use super::{Opened, Sqlite};
use crate::connector::{ConnectorError, DeadLetterVisitor, DeadLetters, Redrive, Visit};
use crate::transaction::Transaction;

impl DeadLetters for Sqlite {
    /// Rows are read where they are, without a claim, so that a visit changes nothing.
    async fn visit(&self, visitor: &mut dyn DeadLetterVisitor) -> Result<(), ConnectorError> {
        let Opened { database, queue, .. } = self.opened()?;
        let queue = *queue;
        let source: Arc<str> = self.config.queue.as_str().into();
        let waiting = database.write(move |connection| queue.waiting(connection)).await?;
        for seq in waiting {
            let name = Arc::clone(&source);
            let row = database.write(move |connection| queue.peek(connection, seq, &name)).await?;
            // Another process may have taken the row in the meantime.
            let Some(row) = row else { continue };
            match visitor.visit(row.transaction.with_deliveries(1)).await {
                Visit::Keep => (),
                Visit::Stop => break,
                Visit::Remove => {
                    database.write(move |connection| queue.delete(connection, seq)).await?;
                }
            }
        }
        Ok(())
    }
}

impl Redrive for Sqlite {
    async fn redrive(&self, transaction: Transaction) -> Result<(), ConnectorError> {
        let Opened { database, queue, .. } = self.opened()?;
        let (queue, row) = (*queue, NewRow::of(&transaction)?);
        database.write(move |connection| queue.add(connection, &[row])).await
    }
}
