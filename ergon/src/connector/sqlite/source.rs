//! Claims rows of the queue, and settles them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use super::database::Database;
use super::queue::{Claim, Claimed, Queue, Token, Verdict};
use super::row::{ReadRow, metadata_text, micros};
use super::{Claims, Opened, Sqlite, error};
use crate::connector::kit::Extend;
use crate::connector::{
    ConnectorError, Count, Delivery, Endpoint, FetchById, FetchRequest, Receipt, Settlement, Source,
};

/// How long a fetch waits at most before it asks again, so that a clock that was set does not hold it.
const RECHECK: Duration = Duration::from_secs(5);

/// Extends the leases of a connector.
#[derive(Debug)]
pub(super) struct Extender {
    pub(super) database: Arc<Database>,
    pub(super) queue: Queue,
    pub(super) lease: Duration,
}

impl Extend<Token> for Extender {
    async fn extend(&self, tokens: Vec<Token>) -> Result<Vec<usize>, ConnectorError> {
        let (queue, lease) = (self.queue, self.lease);
        self.database.write(move |connection| queue.extend(connection, &tokens, lease)).await
    }
}

impl Source for Sqlite {
    const HAS_DEAD_LETTERS: bool = true;

    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        let opened = self.opened()?;
        if request.max() == 0 {
            return Ok(Vec::new());
        }
        // Before the claim, so that a row that is dispatched between the claim and the wait ends the wait.
        let mut commits = opened.database.commits();
        loop {
            let (deliveries, next) = self.claim(opened, request.max()).await?;
            if !deliveries.is_empty() || !request.waits() {
                return Ok(deliveries);
            }
            tokio::select! {
                seen = commits.changed() => if seen.is_err() { return Ok(Vec::new()) },
                () = sleep(until(next)) => (),
            }
        }
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        let opened = self.opened()?;
        let (mut verdicts, mut indices, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        for (index, settlement) in settlements.iter().enumerate() {
            match opened.leases.release(settlement.receipt()) {
                Ok(token) => {
                    let annotated = settlement.rejected().map(|letter| metadata_text(letter.metadata()));
                    let disposition = settlement.disposition();
                    verdicts.push(Verdict { token, disposition, annotated: annotated.flatten() });
                    indices.push(index);
                }
                Err(error) => failures.push((index, error)),
            }
        }
        if !verdicts.is_empty() {
            let queue = opened.queue;
            let lost = opened.database.write(move |connection| queue.settle(connection, &verdicts)).await;
            match lost {
                Ok(lost) => {
                    failures.extend(lost.iter().filter_map(|at| Some((*indices.get(*at)?, error::lost()))));
                }
                Err(error) if failures.is_empty() => return Err(error),
                Err(error) => {
                    let why = error.to_string();
                    failures
                        .extend(indices.iter().map(|index| (*index, ConnectorError::unknown(why.clone()))));
                }
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(ConnectorError::partial(failures)) }
    }

    fn holds(&self, receipt: &Receipt) -> bool {
        self.opened.get().is_some_and(|opened| opened.leases.holds(receipt))
    }

    fn reads_from(&self) -> Vec<Endpoint> {
        vec![self.endpoint()]
    }
}

impl Sqlite {
    fn claiming(&self, max: usize) -> Claim {
        Claim { max, lease: self.config.lease, source: self.config.queue.as_str().into() }
    }

    /// Claims rows, those of a cancelled fetch first; without any, returns when the next row becomes visible.
    async fn claim(
        &self,
        opened: &Opened,
        max: usize,
    ) -> Result<(Vec<Delivery>, Option<i64>), ConnectorError> {
        let mut claims = opened.claims.lock().await;
        let surplus = claims.take(max);
        if !surplus.is_empty() {
            return Ok((surplus, None));
        }
        let since = Instant::now();
        let Opened { database, queue, .. } = opened;
        let (queue, claim) = (*queue, self.claiming(max));
        let reply = claims
            .pending
            .get_or_insert_with(|| database.send(move |connection| queue.claim(connection, &claim)));
        let answer = reply.await;
        claims.pending = None;
        let Claimed { rows, next } = database.received(answer)?;
        let deliveries = rows.into_iter().map(|row| opened.delivery(row, since));
        claims.surplus.extend(deliveries);
        Ok((claims.take(max), next))
    }
}

impl Claims {
    fn take(&mut self, max: usize) -> Vec<Delivery> {
        let count = self.surplus.len().min(max);
        self.surplus.drain(..count).collect()
    }
}

impl Opened {
    /// A delivery whose lease began at `since`.
    fn delivery(&self, row: ReadRow, since: Instant) -> Delivery {
        let receipt = self.leases.hold(Token::of(&row), since);
        Delivery::new(row.transaction, receipt)
    }
}

/// How long until a time in microseconds since 1970; at most [`RECHECK`].
fn until(time: Option<i64>) -> Duration {
    let Some(time) = time else { return RECHECK };
    let left = time.saturating_sub(micros(SystemTime::now()));
    Duration::from_micros(u64::try_from(left).unwrap_or_default()).min(RECHECK)
}

impl Count for Sqlite {
    async fn count(&self) -> Result<u64, ConnectorError> {
        let Opened { database, queue, .. } = self.opened()?;
        let queue = *queue;
        let count = database.write(move |connection| queue.count(connection)).await?;
        Ok(self.shard.share(count.unsigned_abs()))
    }
}

impl FetchById for Sqlite {
    async fn fetch_by_id(&self, id: &str) -> Result<Option<Delivery>, ConnectorError> {
        let opened = self.opened()?;
        let (queue, claim, id, since) = (opened.queue, self.claiming(1), id.to_owned(), Instant::now());
        let row = opened.database.write(move |connection| queue.claim_id(connection, &id, &claim)).await?;
        Ok(row.map(|row| opened.delivery(row, since)))
    }
}
