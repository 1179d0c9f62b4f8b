//! Fetches, settles and dispatches transactions.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ergon::connector::prelude::*;
use ergon::prelude::*;

use super::schemas::Record;
use super::service::{{{type}}Client, {{type}}ClientConfig};

/// Fetches from {{title}}, page by page, and dispatches to it.
#[derive(Connector)]
#[connector(source, sink)]
pub(crate) struct {{type}} {
    #[connector(service)]
    client: {{type}}Client,
    #[connector(default = 100)]
    page_size: usize,
    #[connector(skip)]
    bookmark: Mutex<Bookmark>,
}

/// The position of the source.
#[derive(Default)]
struct Bookmark {
    /// The number of the last record that was read.
    last: u64,
    /// Requeued transactions. They are delivered again before new records.
    returned: VecDeque<(u64, Transaction)>,
}

impl Source for {{type}} {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        let after = {
            let mut bookmark = self.bookmark();
            let again = request.max().min(bookmark.returned.len());
            if again > 0 {
                let again = bookmark.returned.drain(..again);
                return Ok(again.map(delivery).collect());
            }
            bookmark.last
        };
        let most = request.max().min(self.page_size);
        let page = self.client.page(after, most).await?;
        // The bookmark moves only now, because a fetch that is dropped while it waits has read nothing. Another fetch may
        // have read the same page in the meantime.
        let mut bookmark = self.bookmark();
        let last = bookmark.last;
        let fresh = page.iter().filter(|record| record.number > last);
        let deliveries = fresh.map(fetched).collect::<Result<_, _>>()?;
        bookmark.last = page.last().map_or(last, |record| record.number.max(last));
        Ok(deliveries)
    }

    /// Reports done and rejected records to the external system, and keeps requeued ones.
    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        let mut failed = Vec::new();
        for (index, settlement) in settlements.iter().enumerate() {
            let number = settlement.receipt().tag();
            let settled = match settlement.disposition() {
                Disposition::Ack => self.client.done(number).await,
                Disposition::Reject => self.client.refused(number).await,
                Disposition::Requeue | Disposition::RetryAfter(_) => {
                    self.keep(settlement.receipt());
                    Ok(())
                }
            };
            if let Err(error) = settled {
                failed.push((index, error.into()));
            }
        }
        if failed.is_empty() {
            Ok(())
        } else {
            Err(ConnectorError::partial(failed))
        }
    }
}

impl Sink for {{type}} {
    async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        for transaction in &transactions {
            let content: Value = transaction
                .decode()
                .map_err(|error| ConnectorError::permanent("not JSON").with_source(error))?;
            self.client.add(transaction.id(), &content).await?;
        }
        Ok(())
    }
}

impl {{type}} {
    fn bookmark(&self) -> MutexGuard<'_, Bookmark> {
        self.bookmark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a transaction for the next fetch, with one more delivery.
    fn keep(&self, receipt: &Receipt) {
        if let Some(requeued) = receipt.token::<Transaction>() {
            let deliveries = requeued.deliveries().saturating_add(1);
            let again = requeued.clone().with_deliveries(deliveries);
            self.bookmark().returned.push_back((receipt.tag(), again));
        }
    }
}

/// Makes the delivery of a record. Its number is a stable id.
fn fetched(record: &Record) -> Result<Delivery, ConnectorError> {
    let transaction = Transaction::new(record.number.to_string(), &record.content)
        .map_err(|error| ConnectorError::permanent("not JSON").with_source(error))?;
    Ok(delivery((record.number, transaction)))
}

/// Makes a delivery. The receipt keeps the transaction, in case it is requeued.
fn delivery((number, transaction): (u64, Transaction)) -> Delivery {
    let receipt = Receipt::new(number).with_token(transaction.clone());
    Delivery::new(transaction, receipt)
}

#[cfg(test)]
mod tests {
    use ergon::connector::Context;

    use super::*;

    fn connector() -> {{type}} {
        let client = {{type}}ClientConfig {
            url: "https://example.com".into(),
        };
        let config = {{type}}Config {
            client,
            page_size: 100,
        };
        config.build(&Context::new("test", "input")).unwrap()
    }

    /// When the calls in `service.rs` are written, `ergon::testing::conformance` tests all rules of a connector.
    #[tokio::test]
    async fn what_is_given_back_is_handed_out_again_before_anything_new() {
        let connector = connector();
        let record = Record {
            number: 7,
            content: "seven".into(),
        };
        let first = fetched(&record).unwrap().settle(Disposition::Requeue);
        connector.settle(vec![first]).await.unwrap();

        let again = connector.fetch(&FetchRequest::new(10)).await.unwrap();
        let transaction = again[0].transaction();
        assert_eq!((transaction.id(), transaction.deliveries()), ("7", 2));
    }
}
