//! The transactions: what is fetched, what is dispatched, and what becomes of a delivery.

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

/// How far the records have been read.
#[derive(Default)]
struct Bookmark {
    /// The number of the record that was read last.
    last: u64,
    /// What was given back: it is handed out again before anything new.
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
        // Only now: a fetch that is dropped while it waits has read nothing. Another may have read this page meanwhile.
        let mut bookmark = self.bookmark();
        let last = bookmark.last;
        let fresh = page.iter().filter(|record| record.number > last);
        let deliveries = fresh.map(fetched).collect::<Result<_, _>>()?;
        bookmark.last = page.last().map_or(last, |record| record.number.max(last));
        Ok(deliveries)
    }

    /// Tells the other side what is done and what is refused; keeps what is given back.
    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        let mut failed = Vec::new();
        for (index, settlement) in settlements.iter().enumerate() {
            let number = settlement.receipt().tag();
            let told = match settlement.disposition() {
                Disposition::Ack => self.client.done(number).await,
                Disposition::Reject => self.client.refused(number).await,
                Disposition::Requeue | Disposition::RetryAfter(_) => {
                    self.keep(settlement.receipt());
                    Ok(())
                }
            };
            if let Err(error) = told {
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
                .map_err(|error| ConnectorError::permanent("no JSON").with_source(error))?;
            self.client.add(transaction.id(), &content).await?;
        }
        Ok(())
    }
}

impl {{type}} {
    fn bookmark(&self) -> MutexGuard<'_, Bookmark> {
        self.bookmark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a transaction for the next fetch; it counts one delivery more then.
    fn keep(&self, receipt: &Receipt) {
        if let Some(given_back) = receipt.token::<Transaction>() {
            let deliveries = given_back.deliveries().saturating_add(1);
            let again = given_back.clone().with_deliveries(deliveries);
            self.bookmark().returned.push_back((receipt.tag(), again));
        }
    }
}

/// A record as it is handed out; its number makes an id that is always the same.
fn fetched(record: &Record) -> Result<Delivery, ConnectorError> {
    let transaction = Transaction::new(record.number.to_string(), &record.content)
        .map_err(|error| ConnectorError::permanent("no JSON").with_source(error))?;
    Ok(delivery((record.number, transaction)))
}

/// Hands out what has this number; the receipt keeps the transaction, in case it is given back.
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

    /// More than this is tried by `ergon::testing::conformance`, as soon as the calls in `service.rs` are written.
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
