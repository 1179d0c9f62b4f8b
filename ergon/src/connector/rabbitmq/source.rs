//! Fetching from the queues, and telling the broker what became of what was fetched.

use std::time::Duration;

use super::RabbitMq;
use super::acks::Verdict;
use crate::connector::kit::Link;
use crate::connector::{
    ConnectorError, Count, Delivery, Disposition, Endpoint, FetchRequest, Receipt, Settlement, Source,
};

/// How long a fetch waits for a lost connection before it says so; the connection is tried for ever all the same.
const PATIENCE: Duration = Duration::from_secs(30);

impl Source for RabbitMq {
    /// Where a queue has a dead-letter exchange; where it has none, the connector itself warns at its start.
    const HAS_DEAD_LETTERS: bool = true;

    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        if request.max() == 0 {
            return Ok(Vec::new());
        }
        let link = self.consuming().await?;
        loop {
            let session = match link.session(PATIENCE).await {
                Ok(session) => session,
                Err(_) if link.is_closed() => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
            tokio::select! {
                biased;
                fetched = session.fetch(request) => match fetched {
                    Ok(deliveries) => return Ok(deliveries),
                    Err(_lost) => (),
                },
                () = session.over() => (),
            }
        }
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        let session = self.consuming().await?.now();
        let (mut told, mut index_of, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        for (index, settlement) in settlements.iter().enumerate() {
            let receipt = settlement.receipt();
            if session.as_ref().is_some_and(|session| session.epoch() == receipt.epoch()) {
                told.push((receipt.tag(), verdict(settlement.disposition())));
                index_of.push(index);
            } else {
                failures.push((index, redelivered("the connection it came over is lost")));
            }
        }
        if let Some(session) = session.filter(|_| !told.is_empty()) {
            let results = session.settle(&told).await;
            let failed = index_of.into_iter().zip(results);
            failures.extend(failed.filter_map(|(index, why)| Some((index, redelivered(&why?)))));
        }
        if failures.is_empty() { Ok(()) } else { Err(ConnectorError::partial(failures)) }
    }

    fn holds(&self, receipt: &Receipt) -> bool {
        let session = self.consuming.get().and_then(Link::now);
        session.is_some_and(|session| session.is_up() && session.epoch() == receipt.epoch())
    }

    fn postponed(&self, count: usize) {
        if let Some(session) = self.consuming.get().and_then(Link::now) {
            session.widen(count);
        }
    }

    fn reads_from(&self) -> Vec<Endpoint> {
        self.consumed()
    }
}

fn verdict(disposition: Disposition) -> Verdict {
    match disposition {
        Disposition::Ack => Verdict::Ack,
        Disposition::Reject => Verdict::Reject,
        // A queue has no clock: what is to be tried later is held by who consumes, else it comes back at once.
        Disposition::Requeue | Disposition::RetryAfter(_) => Verdict::Requeue,
    }
}

/// A tag of a lost channel means nothing on another; the broker hands the message out again, unless it was told in time.
fn redelivered(why: &str) -> ConnectorError {
    ConnectorError::unknown(format!("{why}; the broker delivers it again if it was not told"))
}

impl Count for RabbitMq {
    async fn count(&self) -> Result<u64, ConnectorError> {
        let link = self.consuming().await?;
        let session = link.session(PATIENCE).await?;
        let lost = |_| ConnectorError::transient("the connection was lost while the queues were counted");
        session.count(self.shard).await.map_err(lost)
    }
}
