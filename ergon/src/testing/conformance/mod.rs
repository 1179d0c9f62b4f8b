//! The rules that every connector must keep, as a test suite for the author of a connector.
//!
//! The author writes a [`Fixture`], which makes a place with given transactions and states what the transport can
//! carry. [`source`], [`sink`] and [`duplex`] test all rules, and panic with the names of the rules that are broken.
//!
//! ```
//! use ergon::Transaction;
//! use ergon::connector::memory::{MemoryConfig, MemoryQueue};
//! use ergon::testing::conformance::{self, Fixture};
//!
//! struct Queues;
//!
//! impl Fixture for Queues {
//!     type Config = MemoryConfig;
//!
//!     async fn filled(&self, place: &str, transactions: Vec<Transaction>) -> MemoryConfig {
//!         MemoryQueue::named(place).extend(transactions);
//!         MemoryConfig::new(place)
//!     }
//!
//!     async fn contents(&self, config: &MemoryConfig) -> Vec<Transaction> {
//!         MemoryQueue::named(&config.name).drain()
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(
//! conformance::duplex(&Queues)
//! # );
//! ```

mod handle;
mod lease;
mod sink;
mod source;

#[cfg(test)]
mod leased;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::connector::{
    Connector, ConnectorConfig, ConnectorError, Context, Delivery, Direction, Disposition, DuplexConfig,
    Endpoint, FetchRequest, Health, Settlement, SinkConfig, Source, SourceConfig,
};
use crate::transaction::panic::caught_in;
use crate::transaction::{Payload, Transaction};

/// The time limit of a rule.
const LIMIT: Duration = Duration::from_secs(20);

/// Describes a connector to the suite.
pub trait Fixture: Sync {
    /// The config of the connector under test.
    type Config: ConnectorConfig;

    /// Makes a place (a queue, a file, a table) that holds exactly these transactions. Returns the config of a
    /// connector to that place.
    ///
    /// `place` is a name that no other rule uses. The payload of each transaction is a [`Sample`], unless
    /// [`Capabilities::binary`] is set.
    fn filled(
        &self,
        place: &str,
        transactions: Vec<Transaction>,
    ) -> impl Future<Output = Self::Config> + Send;

    /// Reads and removes the contents of the place. Called only for a sink. [`read`] does it with a source of the same
    /// config.
    fn contents(&self, config: &Self::Config) -> impl Future<Output = Vec<Transaction>> + Send;

    /// Returns the capabilities of the transport. Default: all capabilities, without leases.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Makes the external system take back every delivery of the place that is leased now, as it does when a lease
    /// ends: for example, `UPDATE … SET leased_until = now()`. Called only where [`Capabilities::leases`] is set.
    /// Default: does nothing.
    fn take_back(&self, config: &Self::Config) -> impl Future<Output = ()> + Send {
        let _ = config;
        std::future::ready(())
    }
}

/// The capabilities of a transport. The suite leaves out rules that need more.
///
/// ```
/// use ergon::testing::conformance::Capabilities;
///
/// // A file of text lines, which a single worker reads.
/// let lines = Capabilities { metadata: false, binary: false, shared: false, ..Capabilities::default() };
/// assert!(lines.large && lines.leases.is_none());
/// ```
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own, answered with yes or no")]
pub struct Capabilities {
    /// Whether metadata is carried.
    pub metadata: bool,
    /// Whether a payload may be arbitrary bytes.
    pub binary: bool,
    /// Whether a payload may have 1 MiB.
    pub large: bool,
    /// Whether several workers may share one source.
    pub shared: bool,
    /// Whether a dispatched transaction can be read when `dispatch` returns; otherwise, when the sink is closed.
    pub immediate: bool,
    /// Whether the external system remembers settlements, so that a source that is opened again continues where the
    /// last one ended. A source that reads a file from its first line does not.
    pub remembers: bool,
    /// The length of the leases under which the source delivers, for a source that uses
    /// [`Leases`](crate::connector::kit::Leases); `None` for a source without leases. The suite waits for several
    /// lengths, so the configs of the fixture use a short lease: a second or two.
    pub leases: Option<Duration>,
}

impl Default for Capabilities {
    /// All capabilities of a queue, without leases.
    fn default() -> Self {
        Self {
            metadata: true,
            binary: true,
            large: true,
            shared: true,
            immediate: true,
            remembers: true,
            leases: None,
        }
    }
}

/// The payload that the suite sends.
///
/// ```
/// use ergon::testing::conformance::Sample;
///
/// let sample: Sample = serde_json::from_str(r#"{"key": "key-0001", "text": "text 1"}"#)?;
/// assert_eq!(sample.key, "key-0001");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Distinguishes the sample from all others of its place.
    pub key: String,
    /// Any text.
    pub text: String,
}

/// Tests all rules of a source.
///
/// # Panics
/// Panics if a rule is broken. The message names each broken rule.
pub async fn source<F: Fixture<Config: SourceConfig>>(fixture: &F) {
    // Boxed, because the futures of all rules together are large.
    let outcomes = Box::pin(source::rules(fixture)).await;
    report::<F>("source", outcomes);
}

/// Tests all rules of a sink.
///
/// # Panics
/// Panics if a rule is broken. The message names each broken rule.
pub async fn sink<F: Fixture<Config: SinkConfig>>(fixture: &F) {
    let outcomes = Box::pin(sink::rules(fixture)).await;
    report::<F>("sink", outcomes);
}

/// Tests all rules of a source and of a sink.
///
/// # Panics
/// Panics if a rule is broken. The message names each broken rule.
pub async fn duplex<F: Fixture<Config: DuplexConfig>>(fixture: &F) {
    source(fixture).await;
    sink(fixture).await;
}

/// Fetches everything that a source of this config has now, and acknowledges it. For [`Fixture::contents`].
///
/// # Errors
/// Returns the error of the source.
pub async fn read<C: SourceConfig>(config: &C) -> Result<Vec<Transaction>, ConnectorError> {
    let source = config.build(&context(Direction::Source))?;
    source.open().await?;
    let mut all = Vec::new();
    loop {
        let deliveries = source.fetch(&FetchRequest::new(100)).await?;
        if deliveries.is_empty() {
            source.close().await?;
            return Ok(all);
        }
        let mut done = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let (transaction, receipt) = delivery.into_parts();
            all.push(transaction);
            // Settled after each fetch, because a source may limit its unacknowledged deliveries.
            done.push(Settlement::new(receipt, Disposition::Ack));
        }
        source.settle(done).await?;
    }
}

/// The reason why a rule is broken.
type Broken = String;
/// The name of a rule, and its result.
type Outcome = (&'static str, Result<(), Broken>);

/// Tests one rule within the time limit. A panic of the connector breaks only this rule.
async fn rule(name: &'static str, check: impl Future<Output = Result<(), Broken>>) -> Outcome {
    let late = |_| Err(format!("no end after {} s", LIMIT.as_secs()));
    let limited = async { tokio::time::timeout(LIMIT, check).await.unwrap_or_else(late) };
    let outcome = caught_in(limited).await;
    (name, outcome.unwrap_or_else(|panicked| Err(format!("the connector {panicked}"))))
}

#[expect(clippy::panic, reason = "a test fails by panicking")]
fn report<F: Fixture>(role: &str, outcomes: Vec<Outcome>) {
    let broken: Vec<String> = outcomes
        .into_iter()
        .filter_map(|(name, outcome)| outcome.err().map(|reason| format!("\n  {name}: {reason}")))
        .collect();
    if !broken.is_empty() {
        let kind = <<F::Config as ConnectorConfig>::Connector as Connector>::KIND;
        panic!("the {role} `{kind}` breaks {} of the rules:{}", broken.len(), broken.concat());
    }
}

/// Builds and opens the connector of a config, as a run does.
async fn opened<C: ConnectorConfig>(config: &C, context: &Context) -> Result<Arc<C::Connector>, Broken> {
    let connector = Arc::new(config.build(context).map_err(failed("not built"))?);
    connector.open().await.map_err(failed("not opened"))?;
    Ok(connector)
}

/// Starts an open connector, as a run does. The connector must be healthy afterwards.
async fn start<C: Connector>(connector: &C) -> Result<(), Broken> {
    connector.start().await.map_err(failed("not started"))?;
    same("health after open", &connector.health(), &Health::Healthy)
}

fn context(direction: Direction) -> Context {
    let mut context = Context::new("conformance", "connector");
    context.direction = direction;
    context
}

/// Makes `count` transactions with distinct keys.
fn samples(count: usize) -> Vec<Transaction> {
    (0..count).map(|number| sample(&format!("key-{number:04}"), &format!("text {number}"))).collect()
}

fn sample(key: &str, text: &str) -> Transaction {
    let payload = serde_json::json!({"key": key, "text": text});
    Transaction::builder().id(key.to_owned()).payload(Payload::value(payload)).build()
}

fn decoded(transaction: &Transaction) -> Result<Sample, Broken> {
    transaction.decode().map_err(|error| format!("`{}` does not decode: {error}", transaction.id()))
}

fn keys<'a>(transactions: impl IntoIterator<Item = &'a Transaction>) -> Result<Vec<String>, Broken> {
    let mut keys: Vec<_> =
        transactions.into_iter().map(|t| Ok::<_, Broken>(decoded(t)?.key)).collect::<Result<_, _>>()?;
    keys.sort_unstable();
    Ok(keys)
}

fn transactions(deliveries: &[Delivery]) -> impl Iterator<Item = &Transaction> {
    deliveries.iter().map(Delivery::transaction)
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), Broken> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, expected {expected:?}")) }
}

/// Compares sorted keys. Reports the numbers of missing and repeated keys, not the whole lists.
fn same_keys(found: &[String], expected: &[String]) -> Result<(), Broken> {
    if found == expected {
        return Ok(());
    }
    let missing = expected.iter().filter(|key| !found.contains(key)).count();
    let doubled = found.windows(2).filter(|pair| matches!(pair, [a, b] if a == b)).count();
    let (found, expected) = (found.len(), expected.len());
    Err(format!("{found} transactions instead of {expected}: {missing} missing, {doubled} more than once"))
}

/// The first two endpoints belong to one place, and the third belongs to another. A connector that reports no endpoint
/// passes.
fn apart(places: [Result<Vec<Endpoint>, Broken>; 3]) -> Result<(), Broken> {
    let [here, again, there] = places;
    let here = here?;
    same("one place asked twice", &again?, &here)?;
    same("another place has the same name", &(!here.is_empty() && there? == here), &false)
}

fn failed(what: &'static str) -> impl Fn(ConnectorError) -> Broken {
    move |error| format!("{what}: {error}")
}
