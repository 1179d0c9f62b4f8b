//! The source side of RabbitMQ: fetches from queues, and settles deliveries over the channel that delivered them.

use std::time::Duration;

use super::RabbitMq;
use super::acks::Verdict;
use crate::connector::kit::Link;
use crate::connector::{
    ConnectorError, Count, Delivery, Disposition, Endpoint, FetchRequest, Receipt, Settlement, Source,
};

/// The time that a fetch waits for a lost connection before it returns an error. The link keeps trying without end.
const PATIENCE: Duration = Duration::from_secs(30);

impl Source for RabbitMq {
    /// The broker dead-letters rejected messages of a queue with a dead-letter exchange. For other queues the
    /// connector itself warns at the start.
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
                // Wakes a fetch that waits when the session is lost.
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
                failures.push((index, redelivered("the connection that delivered the message is lost")));
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
        // A queue cannot delay a message. The worker holds a message for later, and a requeued message is delivered
        // again immediately.
        Disposition::Requeue | Disposition::RetryAfter(_) => Verdict::Requeue,
    }
}

/// Makes the error of a settlement whose channel is lost. A tag has no meaning on another channel, and the broker
/// redelivers the message unless it received the settlement in time.
fn redelivered(why: &str) -> ConnectorError {
    ConnectorError::unknown(format!(
        "{why}; the broker delivers the message again if the settlement did not reach it"
    ))
}

impl Count for RabbitMq {
    async fn count(&self) -> Result<u64, ConnectorError> {
        let link = self.consuming().await?;
        let session = link.session(PATIENCE).await?;
        let lost = |_| {
            ConnectorError::transient("the connection was lost while the messages in the queues were counted")
        };
        session.count(self.shard).await.map_err(lost)
    }
}
