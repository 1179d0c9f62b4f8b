//! The transactions: what is fetched, what is dispatched, and what becomes of a delivery.

use std::sync::atomic::{AtomicU64, Ordering};

use ergon::prelude::*;

use super::service::{{{type}}Client, {{type}}ClientConfig};

/// Fetches from {{title}}, page by page, and dispatches to it.
#[derive(Connector)]
#[connector(source, sink)]
pub(crate) struct {{type}} {
    #[connector(service)]
    client: {{type}}Client,
    #[connector(default = 100)]
    page_size: usize,
    /// The number of the record that was fetched last.
    #[connector(skip)]
    last: AtomicU64,
}

impl Source for {{type}} {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        let after = self.last.load(Ordering::Relaxed);
        let most = request.max().min(self.page_size);
        let records = self.client.page(after, most).await?;
        let mut deliveries = Vec::with_capacity(records.len());
        for record in records {
            let id = record.number.to_string();
            let transaction = Transaction::new(id, &record.content)
                .map_err(|error| ConnectorError::permanent("no JSON").with_source(error))?;
            deliveries.push(Delivery::new(transaction, Receipt::new(record.number)));
            self.last.store(record.number, Ordering::Relaxed);
        }
        Ok(deliveries)
    }

    /// Tells the other side what became of each delivery; its receipt has the record's number.
    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        for settlement in settlements {
            let number = settlement.receipt().tag();
            match settlement.disposition() {
                Disposition::Ack => self.client.done(number).await?,
                Disposition::Reject => self.client.refused(number).await?,
                // What is not done is handed out again by the other side.
                Disposition::Requeue | Disposition::RetryAfter(_) => {}
            }
        }
        Ok(())
    }
}

impl Sink for {{type}} {
    async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        for transaction in &transactions {
            let content: Value = transaction
                .decode()
                .map_err(|error| ConnectorError::permanent("no JSON").with_source(error))?;
            self.client.add(transaction.id(), &content).await?;
        }
        Ok(())
    }
}
