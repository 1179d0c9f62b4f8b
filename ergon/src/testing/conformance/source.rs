//! The rules of a source: one function for each rule of the suite.

use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::handle::{A_MOMENT, Opened};
use super::{
    Broken, Fixture, Outcome, apart, context, decoded, failed, keys, lease, rule, same, same_keys, sample,
    samples, transactions,
};
use crate::connector::{
    Connector, ConnectorConfig, Delivery, Direction, Disposition, FetchRequest, Shard, Source as _,
    SourceConfig,
};
use crate::transaction::{ContentType, Payload, Transaction};

pub(super) async fn rules<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Vec<Outcome> {
    let mut outcomes = vec![
        rule("delivers all, each once", delivers_all(fixture)).await,
        rule("is empty only when nothing waits", empty_only_at_the_end(fixture)).await,
        rule("respects the maximum", respects_max(fixture)).await,
        rule("settles once", settles_once(fixture)).await,
        rule("gives back what is dropped", gives_back_dropped(fixture)).await,
        rule("counts redeliveries", counts_redeliveries(fixture)).await,
        rule("redelivers each as it was", redelivers_whole(fixture)).await,
        rule("keeps at close what was not settled", keeps_unsettled(fixture, End::Closed)).await,
        rule("keeps what was not settled when it is dropped", keeps_unsettled(fixture, End::Dropped)).await,
        rule("keeps ids over a reopen", keeps_ids(fixture)).await,
        rule("counts what is pending", counts_pending(fixture)).await,
        rule("finds one by its id", finds_by_id(fixture)).await,
        rule("loses nothing when a fetch is cancelled", survives_cancelled_fetch(fixture)).await,
        rule("serves several fetches at once", serves_concurrent_fetches(fixture)).await,
        rule("closes while a fetch waits", closes_while_fetching(fixture)).await,
        rule("is empty when there is nothing", empty_source(fixture)).await,
        rule("tells places apart", tells_places_apart(fixture)).await,
    ];
    outcomes.extend(rules_of_capabilities(fixture).await);
    outcomes
}

/// The rules that need a capability.
async fn rules_of_capabilities<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Vec<Outcome> {
    let (can, mut outcomes) = (fixture.capabilities(), Vec::new());
    if can.large {
        outcomes.push(rule("carries 1 MiB", carries_large(fixture)).await);
    }
    if can.binary {
        outcomes.push(rule("carries any bytes", carries_binary(fixture)).await);
    }
    if can.metadata {
        outcomes.push(rule("carries metadata", carries_metadata(fixture)).await);
    }
    if can.remembers {
        outcomes.push(rule("remembers what was acked", remembers(fixture, Disposition::Ack)).await);
        outcomes.push(rule("remembers what was rejected", remembers(fixture, Disposition::Reject)).await);
    }
    if can.shared {
        outcomes.push(rule("is shared by two workers without overlap", shared_by_two(fixture)).await);
        outcomes.push(rule("counts the share of each worker", counts_shares(fixture)).await);
    }
    if let Some(length) = can.leases {
        outcomes.extend(lease::rules(fixture, length).await);
    }
    outcomes
}

type Source<F> = Opened<<<F as Fixture>::Config as ConnectorConfig>::Connector>;

async fn open<F: Fixture<Config: SourceConfig>>(
    fixture: &F,
    place: &str,
    content: Vec<Transaction>,
) -> Result<Source<F>, Broken> {
    let config = fixture.filled(&format!("source-{place}"), content).await;
    Opened::new(&config, Shard::default()).await
}

async fn delivers_all<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let content = samples(1000);
    let source = open(fixture, "all", content.clone()).await?;
    let deliveries = source.fetch_all(1000).await?;
    same_keys(&keys(transactions(&deliveries))?, &keys(&content)?)?;
    let text = decoded(transactions(&deliveries).next().ok_or("nothing")?)?.text;
    same("the text came as sent", &text.starts_with("text "), &true)?;
    source.nothing_left().await?;
    source.close().await
}

async fn empty_only_at_the_end<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let source = open(fixture, "waiting", samples(50)).await?;
    let found = source.fetch_until_empty().await?;
    same_keys(&keys(transactions(&found))?, &keys(&samples(50))?)?;
    source.close().await
}

async fn respects_max<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let source = open(fixture, "max", samples(20)).await?;
    same("deliveries of a fetch of none", &source.fetch(0).await?.len(), &0)?;
    let (mut found, mut max) = (Vec::new(), 0);
    while found.len() < 20 {
        max = max % 4 + 1;
        found.extend(source.fetch(max).await?);
    }
    same_keys(&keys(transactions(&found))?, &keys(&samples(20))?)
}

async fn settles_once<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let source = open(fixture, "settle", samples(10)).await?;
    let mut deliveries = source.fetch_all(10).await?;
    let rejected = deliveries.split_off(5);
    source.settle(deliveries, Disposition::Ack).await?;
    source.settle(rejected, Disposition::Reject).await?;
    source.nothing_left().await?;
    source.close().await
}

async fn gives_back_dropped<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let source = open(fixture, "dropped", samples(4)).await?;
    let mut deliveries = source.fetch_all(4).await?;
    let dropped = deliveries.split_off(2);
    let expected = keys(transactions(&dropped))?;
    drop(dropped);
    source.settle(deliveries, Disposition::Ack).await?;
    let again = source.fetch_all(2).await?;
    same("dropped, then delivered", &keys(transactions(&again))?, &expected)?;
    source.nothing_left().await?;
    source.close().await
}

async fn counts_redeliveries<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let source = open(fixture, "redelivery", samples(1)).await?;
    let dispositions = [Disposition::Requeue, Disposition::RetryAfter(Duration::ZERO), Disposition::Ack];
    for (expected, disposition) in (1..).zip(dispositions) {
        let deliveries = source.fetch_all(1).await?;
        let found = deliveries.iter().map(|delivery| delivery.transaction().deliveries()).collect::<Vec<_>>();
        same("deliveries", &found, &vec![expected])?;
        source.settle(deliveries, disposition).await?;
    }
    source.nothing_left().await?;
    source.close().await
}

/// The properties that stay the same when a transaction is delivered again.
#[derive(Debug, PartialEq)]
struct Whole {
    id: String,
    key: String,
    note: Option<Value>,
}

fn wholes(deliveries: &[Delivery], metadata: bool) -> Result<Vec<Whole>, Broken> {
    let whole = |transaction: &Transaction| {
        Ok(Whole {
            id: transaction.id().to_owned(),
            key: decoded(transaction)?.key,
            note: transaction.metadata().get("note").filter(|_| metadata).cloned(),
        })
    };
    let mut all = transactions(deliveries).map(whole).collect::<Result<Vec<_>, Broken>>()?;
    all.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(all)
}

async fn redelivers_whole<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let metadata = fixture.capabilities().metadata;
    let content = samples(5).into_iter().map(|sample| sample.annotate([("note", json!("Łódź"))]));
    let source = open(fixture, "redelivered", content.collect()).await?;
    let mut deliveries = source.fetch_all(5).await?;
    let expected = wholes(&deliveries, metadata)?;
    for disposition in [Disposition::Requeue, Disposition::RetryAfter(Duration::ZERO)] {
        source.settle(deliveries, disposition).await?;
        deliveries = source.fetch_all(5).await?;
        same("delivered again", &wholes(&deliveries, metadata)?, &expected)?;
        let mut counts: Vec<_> = transactions(&deliveries).map(Transaction::deliveries).collect();
        counts.dedup();
        same("different counts of what was given back together", &counts.len(), &1)?;
    }
    source.settle(deliveries, Disposition::Ack).await?;
    source.nothing_left().await?;
    source.close().await
}

/// The end of a source whose deliveries are not settled.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Closed,
    /// It is dropped without being closed, as when its process dies.
    Dropped,
}

async fn keeps_unsettled<F: Fixture<Config: SourceConfig>>(fixture: &F, end: End) -> Result<(), Broken> {
    let config = fixture.filled(&format!("source-unsettled-{end:?}"), samples(20)).await;
    let source = Opened::new(&config, Shard::default()).await?;
    let in_hand = source.fetch_all(15).await?;
    if end == End::Closed {
        source.connector.close().await.map_err(failed("not closed"))?;
    }
    drop(source);
    drop(in_hand);
    let source = Opened::new(&config, Shard::default()).await?;
    let found = source.fetch_all(20).await?;
    same_keys(&keys(transactions(&found))?, &keys(&samples(20))?)?;
    source.nothing_left().await?;
    source.close().await
}

/// A source that is opened later does not deliver settled transactions again. It delivers the others.
async fn remembers<F: Fixture<Config: SourceConfig>>(
    fixture: &F,
    disposition: Disposition,
) -> Result<(), Broken> {
    let config = fixture.filled(&format!("source-remembered-{}", disposition.as_str()), samples(20)).await;
    let source = Opened::new(&config, Shard::default()).await?;
    let mut settled = source.fetch_all(20).await?;
    let given_back = settled.split_off(8);
    let expected = keys(transactions(&given_back))?;
    source.settle(settled, disposition).await?;
    drop(given_back);
    source.close().await?;
    let source = Opened::new(&config, Shard::default()).await?;
    let found = source.fetch_all(12).await?;
    same("delivered after it was opened again", &keys(transactions(&found))?, &expected)?;
    source.nothing_left().await?;
    source.close().await
}

async fn keeps_ids<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let config = fixture.filled("source-ids", samples(20)).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let source = Opened::new(&config, Shard::default()).await?;
        let deliveries = source.fetch_all(20).await?;
        let mut ids: Vec<_> = transactions(&deliveries)
            .map(|transaction| Ok((decoded(transaction)?.key, transaction.id().to_owned())))
            .collect::<Result<_, Broken>>()?;
        ids.sort_unstable();
        seen.push(ids);
        drop(deliveries);
        source.close().await?;
    }
    let mut ids: Vec<_> = seen.concat().into_iter().map(|(_, id)| id).collect();
    ids.sort_unstable();
    ids.dedup();
    same("different ids of 20 transactions", &ids.len(), &20)?;
    same("ids when opened again", &seen.last(), &seen.first())
}

async fn counts_pending<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let source = open(fixture, "count", samples(5)).await?;
    if source.count().await?.is_none() {
        return source.close().await;
    }
    source.comes_to("pending", 5).await?;
    let mut deliveries = source.fetch_all(2).await?;
    source.comes_to("pending while two are delivered", 3).await?;
    let back = deliveries.split_off(1);
    source.settle(deliveries, Disposition::Ack).await?;
    source.settle(back, Disposition::Requeue).await?;
    source.comes_to("pending after an ack and a requeue", 4).await?;
    source.fetch_all(4).await?;
    source.comes_to("pending at the end", 0).await?;
    source.close().await
}

async fn finds_by_id<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let source = open(fixture, "by-id", samples(20)).await?;
    let deliveries = source.fetch_all(20).await?;
    let wanted = transactions(&deliveries).last().ok_or("nothing")?.clone();
    source.settle(deliveries, Disposition::Requeue).await?;
    let find =
        async |id: &str| source.input.fetch_by_id(id).await.map_err(|error| format!("not found: {error}"));
    let Some(found) = find(wanted.id()).await? else { return source.close().await };
    let found = found.ok_or_else(|| format!("`{}` is not found", wanted.id()))?;
    same("the one that was found", &decoded(found.transaction())?, &decoded(&wanted)?)?;
    let others = source.fetch_all(19).await?;
    let mut expected = keys(&samples(20))?;
    let key = decoded(&wanted)?.key;
    expected.retain(|other| *other != key);
    same_keys(&keys(transactions(&others))?, &expected)?;
    source.nothing_left().await?;
    source.settle(vec![found], Disposition::Requeue).await?;
    let again = source.fetch_all(1).await?;
    same("given back, then delivered", &keys(transactions(&again))?, &vec![key])?;
    source.settle(again.into_iter().chain(others).collect(), Disposition::Ack).await?;
    source.nothing_left().await?;
    same("an id that is not there is found", &find("no such id").await?.flatten().is_some(), &false)?;
    source.close().await
}

async fn survives_cancelled_fetch<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let source = open(fixture, "cancel", samples(100)).await?;
    let (mut found, request) = (Vec::new(), FetchRequest::new(3));
    for polls in 0..20 {
        let mut fetch = Box::pin(source.input.fetch(&request));
        for _ in 0..polls {
            if let Poll::Ready(deliveries) = futures_util::poll!(&mut fetch) {
                found.extend(deliveries.map_err(failed("not fetched"))?);
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    // The deliveries of a cancelled fetch were dropped. A settlement gives them back.
    source.settle(Vec::new(), Disposition::Ack).await?;
    let rest = source.fetch_all(100 - found.len()).await?;
    found.extend(rest);
    same_keys(&keys(transactions(&found))?, &keys(&samples(100))?)?;
    source.nothing_left().await?;
    source.close().await
}

async fn serves_concurrent_fetches<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let source = open(fixture, "concurrent", samples(400)).await?;
    let quarters = futures_util::future::try_join_all((0..4).map(|_| source.fetch_all(100))).await?;
    let found: Vec<_> = quarters.into_iter().flatten().collect();
    same_keys(&keys(transactions(&found))?, &keys(&samples(400))?)?;
    source.close().await
}

async fn closes_while_fetching<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let source = open(fixture, "close", samples(1)).await?;
    let deliveries = source.fetch_all(1).await?;
    source.settle(deliveries, Disposition::Ack).await?;
    let request = FetchRequest::new(1).waiting();
    let mut fetch = Box::pin(source.input.fetch(&request));
    let early = futures_util::poll!(&mut fetch);
    if let Poll::Ready(Ok(deliveries)) = &early {
        same("deliveries of an empty source", &deliveries.len(), &0)?;
    }
    source.connector.close().await.map_err(failed("not closed"))
}

async fn empty_source<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let source = open(fixture, "empty", Vec::new()).await?;
    source.nothing_left().await?;
    let count = source.input.count().await.map_err(|error| format!("not counted: {error}"))?;
    same("pending", &count.unwrap_or(0), &0)?;
    source.close().await
}

async fn carries_large<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let text = "ergön ".repeat((1 << 20) / 7 + 1);
    let source = open(fixture, "large", vec![sample("large", &text)]).await?;
    let deliveries = source.fetch_all(1).await?;
    let found = decoded(transactions(&deliveries).next().ok_or("nothing")?)?.text;
    same("bytes of text", &found.len(), &text.len())?;
    same("the same text", &(found == text), &true)?;
    source.close().await
}

async fn carries_binary<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let bytes = (0..=255).collect::<Bytes>();
    let payload = Payload::bytes(ContentType::Binary, bytes.clone());
    let content = vec![Transaction::builder().id("binary").payload(payload).build()];
    let source = open(fixture, "binary", content).await?;
    let deliveries = source.fetch_all(1).await?;
    let payload = transactions(&deliveries).next().ok_or("nothing")?.payload();
    same("bytes", &payload.to_bytes().map_err(|error| error.to_string())?, &bytes)?;
    source.close().await
}

async fn carries_metadata<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let sent = sample("metadata", "text").annotate([("grüße", json!("Łódź 🦀\n\"x\""))]);
    let source = open(fixture, "metadata", vec![sent.clone()]).await?;
    let deliveries = source.fetch_all(1).await?;
    let found = transactions(&deliveries).next().ok_or("nothing")?;
    same("metadata", &found.metadata().get("grüße"), &sent.metadata().get("grüße"))?;
    same("id", &found.id(), &sent.id())?;
    source.close().await
}

async fn shared_by_two<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let config = fixture.filled("source-shared", samples(100)).await;
    let first = Opened::new(&config, Shard { index: 0, count: 2 }).await?;
    let second = Opened::new(&config, Shard { index: 1, count: 2 }).await?;
    let mut found = Vec::new();
    while found.len() < 100 {
        let before = found.len();
        found.extend(first.fetch(7).await?);
        found.extend(second.fetch(7).await?);
        if found.len() == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    first.nothing_left().await?;
    second.nothing_left().await?;
    same_keys(&keys(transactions(&found))?, &keys(&samples(100))?)?;
    first.connector.close().await.map_err(failed("not closed"))?;
    second.connector.close().await.map_err(failed("not closed"))
}

async fn counts_shares<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let config = fixture.filled("source-shares", samples(31)).await;
    let workers = [0, 1, 2].map(|index| Shard { index, count: 3 });
    let mut open = Vec::new();
    for shard in workers {
        open.push(Opened::new(&config, shard).await?);
    }
    let until = Instant::now() + A_MOMENT;
    loop {
        let mut counts = Vec::new();
        for source in &open {
            counts.extend(source.count().await?);
        }
        let all: u64 = counts.iter().sum();
        if counts.is_empty() || all == 31 {
            break;
        }
        if Instant::now() > until {
            return Err(format!("the counts of three workers, {counts:?}, add up to {all} instead of 31"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for source in open {
        source.close().await?;
    }
    Ok(())
}

async fn tells_places_apart<F: Fixture<Config: SourceConfig>>(fixture: &F) -> Result<(), Broken> {
    let here = fixture.filled("place-here", Vec::new()).await;
    let there = fixture.filled("place-there", Vec::new()).await;
    apart([&here, &here, &there].map(|config| {
        let connector = config.build(&context(Direction::Source)).map_err(failed("not built"))?;
        Ok(connector.reads_from())
    }))
}
