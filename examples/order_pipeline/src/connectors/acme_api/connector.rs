//! Adapts ACME to transactions: a source of bookings, and a sink for orders.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ergon::connector::prelude::*;
use ergon::prelude::*;

use super::client::{AcmeClient, AcmeClientConfig};
use super::schemas::{Booking, Page};

/// Adapts ACME to transactions.
#[derive(Debug, Connector)]
#[connector(source, sink)]
pub(crate) struct AcmeApi {
    /// The client of ACME.
    #[connector(service)]
    client: AcmeClient,
    /// The number of bookings that one request asks for.
    #[connector(default = 50)]
    page_size: usize,
    #[connector(skip)]
    bookmark: Mutex<Bookmark>,
}

/// The position up to which the bookings have been read.
#[derive(Debug, Default)]
struct Bookmark {
    /// The number of the last booking that was read.
    after: u64,
    /// Whether the last page was read.
    at_end: bool,
    /// Requeued transactions, which are delivered again first.
    returned: VecDeque<Transaction>,
}

impl Source for AcmeApi {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        let after = {
            let mut bookmark = self.bookmark();
            if let Some(again) = bookmark.returned.pop_front() {
                return Ok(vec![delivery(again)]);
            }
            if bookmark.at_end || request.max() == 0 {
                return Ok(Vec::new());
            }
            bookmark.after
        };
        let Page { bookings, next } = self.client.page(after, self.page_size.min(request.max())).await?;
        let read: Result<Vec<_>> = bookings.iter().map(transaction).collect();
        let read =
            read.map_err(|error| ConnectorError::permanent("a booking is no JSON").with_source(error))?;
        // The bookmark moves only now, because a fetch that is dropped while it waits for a page has read nothing.
        let mut bookmark = self.bookmark();
        (bookmark.after, bookmark.at_end) = (next.unwrap_or(after), next.is_none());
        Ok(read.into_iter().map(delivery).collect())
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        for settlement in settlements {
            let given_back =
                matches!(settlement.disposition(), Disposition::Requeue | Disposition::RetryAfter(_));
            if let Some(again) = settlement.receipt().token::<Transaction>().filter(|_| given_back) {
                let deliveries = again.deliveries().saturating_add(1);
                self.bookmark().returned.push_back(again.clone().with_deliveries(deliveries));
            }
        }
        Ok(())
    }

    fn reads_from(&self) -> Vec<Endpoint> {
        vec![Endpoint::new("ACME")]
    }
}

impl Sink for AcmeApi {
    async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        let mut failed = Vec::new();
        for (index, transaction) in transactions.iter().enumerate() {
            if let Err(error) = self.place_order(transaction).await {
                failed.push((index, error));
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(ConnectorError::partial(failed)) }
    }

    fn writes_to(&self) -> Vec<Endpoint> {
        vec![Endpoint::new("ACME")]
    }
}

impl AcmeApi {
    async fn place_order(&self, transaction: &Transaction) -> Result<(), ConnectorError> {
        let order: Value = transaction
            .decode()
            .map_err(|error| ConnectorError::permanent("the order is no JSON").with_source(error))?;
        Ok(self.client.place(transaction.id(), &order).await?)
    }

    fn bookmark(&self) -> MutexGuard<'_, Bookmark> {
        self.bookmark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn transaction(booking: &Booking) -> Result<Transaction> {
    Transaction::new(format!("acme:{}", booking.number), booking)
}

/// Makes the delivery of a booking. The receipt keeps the transaction, in case it is requeued.
fn delivery(booking: Transaction) -> Delivery {
    Delivery::new(booking.clone(), Receipt::new(0).with_token(booking))
}
