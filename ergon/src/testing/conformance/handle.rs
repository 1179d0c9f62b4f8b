//! Wraps the source under test, so that a rule opens, fetches, settles and closes in the same way as a run.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Broken, context, failed, keys, opened, same, start, transactions};
use crate::connector::{
    Connector, Delivery, Direction, Disposition, FetchRequest, Input, Shard, Source, SourceConfig,
};

/// An open source, and the handle through which a task fetches from it.
pub(super) struct Opened<C: Connector> {
    pub(super) connector: Arc<C>,
    pub(super) input: Input,
}

impl<C: Source> Opened<C> {
    pub(super) async fn new<F: SourceConfig<Connector = C>>(
        config: &F,
        shard: Shard,
    ) -> Result<Self, Broken> {
        let mut context = context(Direction::Source);
        context.shard = shard;
        let connector = opened(config, &context).await?;
        start(&*connector).await?;
        let input = Input::new(Arc::clone(&connector), &context);
        Ok(Self { connector, input })
    }

    pub(super) async fn fetch(&self, max: usize) -> Result<Vec<Delivery>, Broken> {
        let deliveries = self.input.fetch(&FetchRequest::new(max)).await.map_err(failed("not fetched"))?;
        let found = deliveries.len();
        if found > max { Err(format!("{found} deliveries instead of at most {max}")) } else { Ok(deliveries) }
    }

    /// Fetches until there are `count` deliveries. A source may need a moment before it delivers.
    pub(super) async fn fetch_all(&self, count: usize) -> Result<Vec<Delivery>, Broken> {
        let mut all = Vec::new();
        while all.len() < count {
            let request = FetchRequest::new(count - all.len()).waiting();
            let some = self.input.fetch(&request).await.map_err(failed("not fetched"))?;
            if some.is_empty() {
                // A source that does not wait may deliver later.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            all.extend(some);
        }
        Ok(all)
    }

    /// Fetches as a finite run does: until the first empty fetch.
    pub(super) async fn fetch_until_empty(&self) -> Result<Vec<Delivery>, Broken> {
        let mut all = Vec::new();
        loop {
            let some = self.fetch(7).await?;
            if some.is_empty() {
                return Ok(all);
            }
            all.extend(some);
        }
    }

    pub(super) async fn nothing_left(&self) -> Result<(), Broken> {
        let more = self.fetch(10).await?;
        same("delivered although nothing should be left", &keys(transactions(&more))?, &Vec::new())
    }

    pub(super) async fn count(&self) -> Result<Option<u64>, Broken> {
        self.input.count().await.map_err(|error| format!("not counted: {error}"))
    }

    /// Counts until the result is as expected. The count of an external system may lag behind a settlement.
    pub(super) async fn comes_to(&self, what: &str, expected: u64) -> Result<(), Broken> {
        let until = Instant::now() + A_MOMENT;
        loop {
            let found = self.count().await?;
            if found == Some(expected) || Instant::now() > until {
                return same(what, &found, &Some(expected));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn settle(
        &self,
        deliveries: Vec<Delivery>,
        disposition: Disposition,
    ) -> Result<(), Broken> {
        let settlements = deliveries.into_iter().map(|delivery| delivery.settle(disposition)).collect();
        self.input.settle(settlements).await.map_err(failed("not settled"))
    }

    /// Gives back all dropped deliveries, and closes the source.
    pub(super) async fn close(self) -> Result<(), Broken> {
        self.input.settle(Vec::new()).await.map_err(failed("not given back"))?;
        self.connector.close().await.map_err(failed("not closed"))
    }
}

/// The time within which the external system's count has to include a settlement.
pub(super) const A_MOMENT: Duration = Duration::from_secs(2);
