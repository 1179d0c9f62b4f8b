//! The rules of a sink: one function for each rule of the suite.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::{
    Broken, Fixture, Outcome, apart, context, decoded, failed, keys, opened, rule, same, same_keys, sample,
    samples, start,
};
use crate::connector::{Connector, ConnectorConfig, Context, Direction, Output, Sink as _, SinkConfig};
use crate::transaction::{ContentType, Payload, Transaction};

pub(super) async fn rules<F: Fixture<Config: SinkConfig>>(fixture: &F) -> Vec<Outcome> {
    let can = fixture.capabilities();
    let mut outcomes = vec![
        rule("takes all", takes_all(fixture)).await,
        rule("takes several dispatches at once", takes_concurrent(fixture)).await,
        rule("takes none", takes_none(fixture)).await,
        rule("leaves what is there until it begins", leaves_until_begin(fixture)).await,
        rule("continues with what is there after a restart", continues_after_restart(fixture)).await,
        rule("loses nothing that it takes after its close", true_after_close(fixture)).await,
        rule("tells places apart", tells_places_apart(fixture)).await,
    ];
    if can.large {
        outcomes.push(rule("carries 1 MiB", carries_large(fixture)).await);
    }
    if can.binary {
        outcomes.push(rule("carries any bytes", carries_binary(fixture)).await);
    }
    if can.metadata {
        outcomes.push(rule("carries metadata", carries_metadata(fixture)).await);
    }
    outcomes
}

struct Opened<C: ConnectorConfig> {
    config: C,
    connector: Arc<C::Connector>,
    output: Output,
}

impl<C: SinkConfig> Opened<C> {
    async fn new(config: C, context: &Context) -> Result<Self, Broken> {
        let connector = opened(&config, context).await?;
        start(&*connector).await?;
        let output = Output::new(Arc::clone(&connector), context);
        Ok(Self { config, connector, output })
    }

    async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), Broken> {
        let dispatched = self.output.dispatch_transactions(transactions).await;
        dispatched.map_err(|error| format!("not dispatched: {error}"))
    }

    /// Closes the sink, and reads the contents of the place. An immediate sink is read before it is closed.
    async fn contents<F: Fixture<Config = C>>(self, fixture: &F) -> Result<Vec<Transaction>, Broken> {
        if !fixture.capabilities().immediate {
            self.connector.close().await.map_err(failed("not closed"))?;
            return Ok(fixture.contents(&self.config).await);
        }
        let contents = fixture.contents(&self.config).await;
        self.connector.close().await.map_err(failed("not closed"))?;
        Ok(contents)
    }
}

async fn open<F: Fixture<Config: SinkConfig>>(fixture: &F, place: &str) -> Result<Opened<F::Config>, Broken> {
    let config = fixture.filled(&format!("sink-{place}"), Vec::new()).await;
    Opened::new(config, &context(Direction::Sink)).await
}

async fn takes_all<F: Fixture<Config: SinkConfig>>(fixture: &F) -> Result<(), Broken> {
    let sink = open(fixture, "all").await?;
    let content = samples(300);
    let (many, single) = content.split_at(250);
    sink.dispatch(many.to_vec()).await?;
    for transaction in single {
        sink.dispatch(vec![transaction.clone()]).await?;
    }
    let found = sink.contents(fixture).await?;
    same_keys(&keys(&found)?, &keys(&content)?)?;
    for transaction in &found {
        let sample = decoded(transaction)?;
        same("a text begins with `text `", &sample.text.starts_with("text "), &true)?;
    }
    Ok(())
}

async fn takes_concurrent<F: Fixture<Config: SinkConfig>>(fixture: &F) -> Result<(), Broken> {
    let sink = open(fixture, "concurrent").await?;
    let content = samples(200);
    let dispatches = content.chunks(10).map(|some| sink.dispatch(some.to_vec()));
    futures_util::future::try_join_all(dispatches).await?;
    same_keys(&keys(&sink.contents(fixture).await?)?, &keys(&content)?)
}

async fn takes_none<F: Fixture<Config: SinkConfig>>(fixture: &F) -> Result<(), Broken> {
    let sink = open(fixture, "none").await?;
    sink.dispatch(Vec::new()).await?;
    sink.connector.close().await.map_err(failed("not closed"))
}

/// A run that cannot start, and the command `check`, leave everything as it is.
async fn leaves_until_begin<F: Fixture<Config: SinkConfig>>(fixture: &F) -> Result<(), Broken> {
    let config = fixture.filled("sink-untouched", samples(5)).await;
    let sink = context(Direction::Sink);
    let checked = config.build(&sink).map_err(failed("not built"))?;
    checked.check().await.map_err(failed("not checked"))?;
    drop(checked);
    opened(&config, &sink).await?.close().await.map_err(failed("not closed"))?;
    same_keys(&keys(&fixture.contents(&config).await)?, &keys(&samples(5))?)
}

/// A worker that replaces one that died appends to its output.
async fn continues_after_restart<F: Fixture<Config: SinkConfig>>(fixture: &F) -> Result<(), Broken> {
    let content = samples(8);
    let (earlier, later) = content.split_at(5);
    let config = fixture.filled("sink-restarted", earlier.to_vec()).await;
    let mut restarted = context(Direction::Sink);
    restarted.is_restart = true;
    let sink = Opened::new(config, &restarted).await?;
    sink.dispatch(later.to_vec()).await?;
    same_keys(&keys(&sink.contents(fixture).await?)?, &keys(&content)?)
}

/// The code of a task may outlive its run. A dispatch after the close is refused, or has an effect.
async fn true_after_close<F: Fixture<Config: SinkConfig>>(fixture: &F) -> Result<(), Broken> {
    let sink = open(fixture, "closed").await?;
    let content = samples(2);
    let (in_time, late) = content.split_at(1);
    sink.dispatch(in_time.to_vec()).await?;
    sink.connector.close().await.map_err(failed("not closed"))?;
    let taken = sink.dispatch(late.to_vec()).await.is_ok();
    let expected = if taken { keys(&content)? } else { keys(in_time)? };
    same_keys(&keys(&fixture.contents(&sink.config).await)?, &expected)
}

async fn only<F: Fixture<Config: SinkConfig>>(
    fixture: &F,
    place: &str,
    sent: Transaction,
) -> Result<Transaction, Broken> {
    let sink = open(fixture, place).await?;
    sink.dispatch(vec![sent]).await?;
    let mut found = sink.contents(fixture).await?;
    same("transactions", &found.len(), &1)?;
    found.pop().ok_or_else(|| "nothing".to_owned())
}

async fn carries_large<F: Fixture<Config: SinkConfig>>(fixture: &F) -> Result<(), Broken> {
    let text = "ergön ".repeat((1 << 20) / 7 + 1);
    let found = only(fixture, "large", sample("large", &text)).await?;
    same("the same text", &(decoded(&found)?.text == text), &true)
}

async fn carries_binary<F: Fixture<Config: SinkConfig>>(fixture: &F) -> Result<(), Broken> {
    let bytes = (0..=255).collect::<Bytes>();
    let payload = Payload::bytes(ContentType::Binary, bytes.clone());
    let found = only(fixture, "binary", Transaction::builder().id("binary").payload(payload).build()).await?;
    same("bytes", &found.payload().to_bytes().map_err(|error| error.to_string())?, &bytes)
}

async fn carries_metadata<F: Fixture<Config: SinkConfig>>(fixture: &F) -> Result<(), Broken> {
    let parent = sample("parent", "text");
    let child = parent.derive(&json!({"key": "child", "text": "x"})).map_err(|error| error.to_string())?;
    let sent = child.annotate([("grüße", json!("Łódź 🦀\n\"x\""))]);
    let found = only(fixture, "metadata", sent.clone()).await?;
    same("metadata", &found.metadata().get("grüße"), &sent.metadata().get("grüße"))?;
    same("id", &found.id(), &sent.id())?;
    same("parent", &found.parent_id(), &sent.parent_id())?;
    same("correlation", &found.correlation_id(), &sent.correlation_id())
}

async fn tells_places_apart<F: Fixture<Config: SinkConfig>>(fixture: &F) -> Result<(), Broken> {
    let here = fixture.filled("sink-place-here", Vec::new()).await;
    let there = fixture.filled("sink-place-there", Vec::new()).await;
    apart([&here, &here, &there].map(|config| {
        let connector = config.build(&context(Direction::Sink)).map_err(failed("not built"))?;
        Ok(connector.writes_to())
    }))
}
