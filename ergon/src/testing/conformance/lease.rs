//! The rules of a source that delivers under leases: the source extends its leases, and reports lost leases.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::handle::Opened;
use super::{Broken, Fixture, Outcome, keys, rule, same, samples, transactions};
use crate::connector::{Disposition, ItemOutcome, Shard, SourceConfig};

pub(super) async fn rules<F: Fixture<Config: SourceConfig>>(fixture: &F, length: Duration) -> Vec<Outcome> {
    vec![
        rule("keeps a delivery while it extends its lease", keeps_extended(fixture, length)).await,
        rule("reports a lease that is lost", reports_lost(fixture, length)).await,
        rule("refuses a settlement after its lease is lost", refuses_after_loss(fixture, length)).await,
    ]
}

async fn keeps_extended<F: Fixture<Config: SourceConfig>>(
    fixture: &F,
    length: Duration,
) -> Result<(), Broken> {
    let config = fixture.filled("source-lease-extended", samples(1)).await;
    let source = Opened::new(&config, Shard::default()).await?;
    let deliveries = source.fetch_all(1).await?;
    sleep(length.saturating_mul(3)).await;
    let held = deliveries.iter().all(|delivery| source.input.holds(delivery));
    same("the lease is held after three of its lengths", &held, &true)?;
    source.nothing_left().await?;
    source.settle(deliveries, Disposition::Ack).await?;
    source.nothing_left().await?;
    source.close().await
}

async fn reports_lost<F: Fixture<Config: SourceConfig>>(fixture: &F, length: Duration) -> Result<(), Broken> {
    let config = fixture.filled("source-lease-lost", samples(1)).await;
    let source = Opened::new(&config, Shard::default()).await?;
    let deliveries = source.fetch_all(1).await?;
    fixture.take_back(&config).await;
    // The next extension, after a third of the length, finds the loss. The rest of the wait is for a slow machine.
    let until = Instant::now() + length.saturating_mul(2);
    while deliveries.iter().any(|delivery| source.input.holds(delivery)) {
        if Instant::now() > until {
            return Err("the handler of a delivery that was taken back is not cancelled".to_owned());
        }
        sleep(Duration::from_millis(5)).await;
    }
    let again = source.fetch_all(1).await?;
    source.settle(again, Disposition::Ack).await?;
    source.nothing_left().await
}

async fn refuses_after_loss<F: Fixture<Config: SourceConfig>>(
    fixture: &F,
    length: Duration,
) -> Result<(), Broken> {
    let config = fixture.filled("source-lease-settled", samples(1)).await;
    let (first, second) =
        (Opened::new(&config, Shard::default()).await?, Opened::new(&config, Shard::default()).await?);
    let stale = first.fetch_all(1).await?;
    fixture.take_back(&config).await;
    let again = second.fetch_all(1).await?;
    let settlements = stale.into_iter().map(|delivery| delivery.settle(Disposition::Ack)).collect();
    let settled = first.input.settle(settlements).await;
    let refused = settled.is_err_and(|error| error.outcome(0) != ItemOutcome::Done);
    same("the settlement of a lost lease is refused", &refused, &true)?;
    // The other worker has the transaction, and the refused settlement must not have removed it.
    second.settle(again, Disposition::Requeue).await?;
    let until = Instant::now() + length.saturating_mul(2);
    let mut back = second.fetch(1).await?;
    while back.is_empty() && Instant::now() < until {
        sleep(Duration::from_millis(5)).await;
        back = second.fetch(1).await?;
    }
    same("delivered again after a refused settlement", &keys(transactions(&back))?, &keys(&samples(1))?)?;
    second.settle(back, Disposition::Ack).await?;
    first.close().await?;
    second.close().await
}
