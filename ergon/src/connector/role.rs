//! The traits a connector implements, and the configs that make one.

use std::future::Future;
use std::time::Duration;

use super::{
    Capabilities, ConnectorError, Delivery, Endpoint, FetchRequest, Receipt, Settlement, Shard, SinkBuffer,
};
use crate::transaction::Transaction;

/// Adapts an external system to transactions.
///
/// `#[derive(Connector)]` writes this impl, the config and its factory. A connector with something to open, close or
/// watch declares `#[connector(manual)]` and writes this impl by hand; config and factory are derived all the same.
///
/// ```
/// use ergon::connector::prelude::*;
///
/// #[derive(Connector)]
/// #[connector(sink, manual)]
/// struct Printer {
///     /// The printer's address, a key of `PrinterConfig`.
///     address: String,
/// }
///
/// impl Connector for Printer {
///     const KIND: &'static str = "printer";
///
///     async fn open(&self) -> Result<(), ConnectorError> {
///         if self.address.is_empty() { Err(ConnectorError::permanent("`address` is empty")) } else { Ok(()) }
///     }
/// }
///
/// impl Sink for Printer {
///     async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
///         drop(transactions); // a real one prints them, and returns when they are on paper
///         Ok(())
///     }
/// }
///
/// let config = PrinterConfig { address: "10.0.0.7".to_owned() };
/// assert_eq!(config.build(&Context::new("print-bills", "output")).unwrap().address, "10.0.0.7");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a connector",
    label = "this type does not implement `Connector`",
    note = "add `#[derive(Connector)]` and `#[connector(source)]`, `#[connector(sink)]` or both to `{Self}`; with `manual`, write `impl Connector for {Self}`"
)]
pub trait Connector: Send + Sync + 'static {
    /// What kind of connector this is, in kebab-case: `excel`, `json-lines`; stands in logs and in `list`.
    const KIND: &'static str;

    /// Gets ready: opens files, connects, checks what is there. Called once, before the first fetch or dispatch.
    ///
    /// # Errors
    /// What is missing or wrong, in words, within a deadline.
    fn open(&self) -> impl Future<Output = Result<(), ConnectorError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Called once when everything that a run needs is open, before the first fetch or dispatch: only now is it sure
    /// that the run takes place. What cannot be taken back belongs here and not in [`open`](Self::open): a sink that
    /// begins its file anew empties it now, so a run that cannot start leaves everything as it was. Default: nothing.
    ///
    /// # Errors
    /// Why it cannot start.
    fn start(&self) -> impl Future<Output = Result<(), ConnectorError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Writes out what is held back and lets go of the external system. Called once, after the last settle. Deliveries
    /// that are still not settled are handed out again by the next connector that is opened there. A dispatch that
    /// comes later fails, or hands over for good.
    ///
    /// # Errors
    /// What could not be written.
    fn close(&self) -> impl Future<Output = Result<(), ConnectorError>> + Send {
        std::future::ready(Ok(()))
    }

    /// How long [`close`](Self::close) may take before it is given up; asked just before it is called. A connector that
    /// writes out only then what it was given names a time that suits how much it is. Default: 30 seconds.
    ///
    /// A process that is told to stop does not wait for it beyond its grace.
    fn close_timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Finds out whether [`open`](Self::open) would succeed, and leaves everything as it is; instead of `open`, for the
    /// command `check`. The services that the connector is built of are asked before. Default: opens, looks at
    /// [`health`](Self::health), and closes.
    ///
    /// # Errors
    /// Those of `open` and `close`, and why it is unhealthy.
    fn check(&self) -> impl Future<Output = Result<(), ConnectorError>> + Send {
        async {
            self.open().await?;
            let health = self.health();
            self.close().await?;
            match health {
                Health::Healthy => Ok(()),
                Health::Unhealthy(why) => Err(ConnectorError::transient(why)),
            }
        }
    }

    /// Says how the connector is right now, without asking the external system.
    fn health(&self) -> Health {
        Health::Healthy
    }

    /// What this connector can do beside its roles. Default: nothing.
    fn capabilities(&self) -> Capabilities<'_> {
        Capabilities::none()
    }
}

/// How a connector is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It works.
    Healthy,
    /// It does not work at present, for this reason; it goes on trying by itself.
    Unhealthy(String),
}

/// Hands transactions out, and is told what became of each.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source",
    label = "nothing can be fetched from this connector",
    note = "wire a connector that implements `Source` here, or implement `Source` for `{Self}`"
)]
pub trait Source: Connector {
    /// Whether the other side keeps what is rejected: a dead-letter exchange, a row marked as failed. If not, a task
    /// that names no `dead_letter` is warned at its start. Default: it does not.
    const HAS_DEAD_LETTERS: bool = false;

    /// Fetches at most [`request.max()`](FetchRequest::max) deliveries; none means that there are none now. A finite
    /// run ends at the first empty fetch, so a source returns none only when no delivery waits at the other side.
    ///
    /// A source that is told of new data by the other side waits here if [`request.waits()`](FetchRequest::waits),
    /// and returns as soon as one delivery is there.
    ///
    /// # Errors
    /// Why nothing could be fetched. Bad content is no error here: it is a delivery that does not decode.
    ///
    /// # Cancel safety
    /// Must be cancel safe: the engine drops the future at a time limit or on stop. What was taken from the other
    /// side by then must be handed out again by a later fetch (dropping a [`Delivery`] gives it back).
    fn fetch(
        &self,
        request: &FetchRequest,
    ) -> impl Future<Output = Result<Vec<Delivery>, ConnectorError>> + Send;

    /// Tells the other side what became of deliveries. Default: there is nothing to tell.
    ///
    /// # Errors
    /// [`ConnectorError::partial`] says which of them were not settled, or whose fate is unknown; any other error
    /// speaks of all of them.
    fn settle(
        &self,
        settlements: Vec<Settlement>,
    ) -> impl Future<Output = Result<(), ConnectorError>> + Send {
        drop(settlements);
        std::future::ready(Ok(()))
    }

    /// Says whether a delivery is still this program's to settle, without asking the other side. It is not once the
    /// connection that it came over is lost, or its lease has run out: the other side hands it out again. Default: it is.
    ///
    /// The engine asks before a failed transaction goes on to its exception handler, and before it becomes a dead letter.
    /// A delivery that is not held any more is dropped: it counts as unknown.
    fn holds(&self, receipt: &Receipt) -> bool {
        let _ = receipt;
        true
    }

    /// Learns how many deliveries are unsettled because their dead letter waits for its next attempt. They take no slot,
    /// and may wait for long. A source whose other side hands out only so many unsettled deliveries lets as many more
    /// come, so that those that wait do not stop the flow. Must return at once. Default: does nothing.
    fn postponed(&self, count: usize) {
        let _ = count;
    }

    /// Names the places it fetches from, without asking the other side; may be called before `open`. Default: none
    /// that is known.
    fn reads_from(&self) -> Vec<Endpoint> {
        Vec::new()
    }
}

/// Takes transactions.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a sink",
    label = "nothing can be dispatched to this connector",
    note = "wire a connector that implements `Sink` here, or implement `Sink` for `{Self}`"
)]
pub trait Sink: Connector {
    /// Hands transactions over; returns only when the other side has them for good.
    ///
    /// # Errors
    /// [`ConnectorError::partial`] says which of them were not taken; any other error speaks of all of them.
    fn dispatch(
        &self,
        transactions: Vec<Transaction>,
    ) -> impl Future<Output = Result<(), ConnectorError>> + Send;

    /// The buffer of a sink that can hand over the dispatches of a run together; see [`SinkBuffer`]. Default: none, so
    /// each dispatch of a task is a call of [`dispatch`](Self::dispatch), or a part of one.
    fn buffer(&self) -> Option<&dyn SinkBuffer> {
        None
    }

    /// Names the places it dispatches to, without asking the other side; may be called before `open`. Default: none
    /// that is known.
    fn writes_to(&self) -> Vec<Endpoint> {
        Vec::new()
    }
}

/// Makes a connector; plain data, usually read from the settings.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a connector's config",
    label = "no connector can be made from this",
    note = "wire a config such as `ExcelConfig`, or the config that `#[derive(Connector)]` made for your connector"
)]
pub trait ConnectorConfig: Clone + Send + Sync + 'static {
    /// The connector this makes.
    type Connector: Connector;

    /// Makes the connector, without touching the external system: that is [`Connector::open`]'s work.
    ///
    /// # Errors
    /// A value that can never work, named.
    fn build(&self, context: &Context) -> Result<Self::Connector, ConnectorError>;

    /// Asks the services that the connector is built of, for the command `check`. `#[derive(Connector)]` writes it.
    /// Default: there are none.
    ///
    /// # Errors
    /// What the first that is not well says, with its field.
    fn check_inner(connector: &Self::Connector) -> impl Future<Output = Result<(), ConnectorError>> + Send {
        let _ = connector;
        std::future::ready(Ok(()))
    }
}

/// What a connector is told about the place it is made for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Context {
    /// The task's name.
    pub task: String,
    /// The slot it is wired to: `input`, `output`, ….
    pub slot: String,
    /// Which share of the work is this worker's.
    pub shard: Shard,
    /// What the connector is wired as.
    pub direction: Direction,
    /// How many deliveries the task may hold unsettled: its `concurrency` and `prefetch` together, or with
    /// `mode = "batch"` its `batch_size`; at least 1.
    pub max_in_flight: usize,
    /// Whether a connector of the task's own takes what the task rejects, so that it never comes to the source.
    pub has_dead_letter: bool,
    /// Whether what stands at the other side already belongs to the same work: a worker that takes the place of one
    /// that died goes on with its output, a transaction that is processed by hand is added to that of a run. Nothing of
    /// it may be removed then, whatever the config says.
    pub is_restart: bool,
    /// Whether the task goes on when this source is empty: it is the one that the consumer fetches from, and its policy
    /// is `streaming`. A file is followed then.
    pub streaming: bool,
}

/// What a connector is wired as: a connector that can be both must not make a file that it is to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// It is only fetched from.
    Source,
    /// It is only dispatched to.
    Sink,
    /// Either, or both: what a side needs is to be made ready when that side is used first.
    #[default]
    Any,
}

impl Context {
    /// Whose connector this is, in log lines, metrics and the lists of a broker's connections: task and slot, and of
    /// several workers which one.
    ///
    /// ```
    /// use ergon::connector::Context;
    ///
    /// assert_eq!(Context::new("ship-orders", "input").label(), "ship-orders.input");
    /// ```
    pub fn label(&self) -> String {
        let Self { task, slot, shard, .. } = self;
        match shard.count {
            1 => format!("{task}.{slot}"),
            count => format!("{task}.{slot} worker {}/{count}", shard.index + 1),
        }
    }

    /// Describes a slot of a task that runs in one worker.
    pub fn new(task: impl Into<String>, slot: impl Into<String>) -> Self {
        Self {
            task: task.into(),
            slot: slot.into(),
            shard: Shard::default(),
            direction: Direction::default(),
            max_in_flight: 1,
            has_dead_letter: false,
            is_restart: false,
            streaming: false,
        }
    }
}

/// A config whose connector is a [`Source`]; implemented by itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no config of a source",
    label = "nothing can be fetched from where this is wired",
    note = "wire a config such as `JsonLinesConfig`, or the config that `#[derive(Connector)]` made for your connector"
)]
pub trait SourceConfig: ConnectorConfig<Connector: Source> {}

impl<C: ConnectorConfig<Connector: Source>> SourceConfig for C {}

/// A config whose connector is a [`Sink`]; implemented by itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no config of a sink",
    label = "nothing can be dispatched to where this is wired",
    note = "wire a config such as `JsonLinesConfig`, or the config that `#[derive(Connector)]` made for your connector"
)]
pub trait SinkConfig: ConnectorConfig<Connector: Sink> {}

impl<C: ConnectorConfig<Connector: Sink>> SinkConfig for C {}

/// A config whose connector is both a [`Source`] and a [`Sink`]; implemented by itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no config of a source and sink",
    label = "nothing can be fetched from and dispatched to where this is wired",
    note = "wire a config such as `JsonLinesConfig`, or the config that `#[derive(Connector)]` made for your connector"
)]
pub trait DuplexConfig: ConnectorConfig<Connector: Source + Sink> {}

impl<C: ConnectorConfig<Connector: Source + Sink>> DuplexConfig for C {}
