//! The traits that a connector implements, [`Connector`], [`Source`] and [`Sink`], and the traits of the configs that
//! make connectors.

use std::future::Future;
use std::time::Duration;

use super::{
    Capabilities, ConnectorError, Delivery, Endpoint, FetchRequest, Receipt, Settlement, Shard, SinkBuffer,
};
use crate::transaction::Transaction;

/// Adapts an external system to transactions.
///
/// `#[derive(Connector)]` writes this impl, the config and its factory. `#[connector(manual)]` leaves this impl to you,
/// for a connector that opens, closes or watches something. Config and factory are still derived.
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
    /// The kind of the connector in kebab-case, such as `excel` or `json-lines`. Logs and `list` show it.
    const KIND: &'static str;

    /// Prepares the connector: opens files, connects, checks what the config names. The runner calls it once, before
    /// the first fetch or dispatch, and waits at most 30 seconds. Default: does nothing.
    ///
    /// # Errors
    /// The missing or wrong part. A [permanent](ConnectorError::permanent) error has exit code 2, any other exit code
    /// 1.
    fn open(&self) -> impl Future<Output = Result<(), ConnectorError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Starts the run's work at the external system. The runner calls it once, after every part of the run is open and
    /// before the first fetch or dispatch, so the run is now certain to take place. Effects that cannot be undone
    /// belong here and not in [`open`](Self::open): a sink that replaces a file empties the file here, so a run that
    /// cannot start changes nothing. Default: does nothing.
    ///
    /// # Errors
    /// The reason why the run cannot start.
    fn start(&self) -> impl Future<Output = Result<(), ConnectorError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Writes everything that is still buffered, and releases the external system. The runner calls it once, after the
    /// last settlement. Unacknowledged deliveries are delivered again by the next connector that is opened there. A
    /// later dispatch fails, or is confirmed as usual. Default: does nothing.
    ///
    /// # Errors
    /// The data that could not be written.
    fn close(&self) -> impl Future<Output = Result<(), ConnectorError>> + Send {
        std::future::ready(Ok(()))
    }

    /// The time limit of [`close`](Self::close), read immediately before the call. A connector that writes its data
    /// only at the end needs a limit that suits the amount. Default: 30 seconds.
    ///
    /// A process that stops after a signal waits at most for the rest of its grace.
    fn close_timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Tests whether [`open`](Self::open) would succeed, and changes nothing. The command `check` calls it instead of
    /// `open`, after it has checked the services that the connector is built of. Default: opens, reads
    /// [`health`](Self::health), and closes.
    ///
    /// # Errors
    /// The errors of `open` and `close`, and the reason why the connector is unhealthy.
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

    /// Reports the present health, from memory: probes call it often, so it must not contact the external system.
    /// Default: healthy.
    fn health(&self) -> Health {
        Health::Healthy
    }

    /// The capabilities of the connector in addition to its roles. Default: none.
    fn capabilities(&self) -> Capabilities<'_> {
        Capabilities::none()
    }
}

/// The health of a connector, for probes and the command `check`.
///
/// ```
/// use ergon::connector::Health;
///
/// let health = Health::Unhealthy("the broker refuses connections".to_owned());
/// assert_ne!(health, Health::Healthy);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// The connector works.
    Healthy,
    /// The connector does not work at present, for this reason. It keeps trying to recover by itself.
    Unhealthy(String),
}

/// A connector that delivers transactions and settles them.
///
/// ```
/// use std::collections::VecDeque;
/// use std::sync::Mutex;
///
/// use ergon::connector::prelude::*;
///
/// /// Delivers each number once, and a requeued number again.
/// struct Numbers(Mutex<VecDeque<u64>>);
///
/// impl Connector for Numbers {
///     const KIND: &'static str = "numbers";
/// }
///
/// impl Source for Numbers {
///     async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
///         let mut waiting = self.0.lock().unwrap();
///         let count = request.max().min(waiting.len());
///         let deliveries = waiting.drain(..count).map(|number| {
///             let transaction = Transaction::builder().id(number.to_string());
///             Delivery::new(transaction.payload(Value::from(number).into()).build(), Receipt::new(number))
///         });
///         Ok(deliveries.collect())
///     }
///
///     async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
///         for settlement in settlements {
///             if settlement.disposition() == Disposition::Requeue {
///                 self.0.lock().unwrap().push_back(settlement.receipt().tag());
///             }
///         }
///         Ok(())
///     }
/// }
/// # use ergon::prelude::Value;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let numbers = Numbers(Mutex::new([1, 2].into()));
/// let first = numbers.fetch(&FetchRequest::new(1)).await?.remove(0);
/// numbers.settle(vec![first.settle(Disposition::Requeue)]).await?;
/// assert_eq!(numbers.fetch(&FetchRequest::new(9)).await?.len(), 2);
/// # Ok::<(), ConnectorError>(()) }).unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source",
    label = "nothing can be fetched from this connector",
    note = "wire a connector that implements `Source` here, or implement `Source` for `{Self}`"
)]
pub trait Source: Connector {
    /// Whether the external system keeps rejected deliveries, in a dead-letter exchange or as rows marked as failed. If
    /// it does not, the engine warns at the start of a task without a `dead_letter`. Default: `false`.
    const HAS_DEAD_LETTERS: bool = false;

    /// Fetches at most [`request.max()`](FetchRequest::max) deliveries. An empty list means that no delivery waits now.
    /// A finite run ends at the first empty fetch, so return an empty list only if the external system has no waiting
    /// delivery.
    ///
    /// A source that receives new data by push waits here if [`request.waits()`](FetchRequest::waits), and returns as
    /// soon as it has one delivery.
    ///
    /// # Errors
    /// The reason why nothing could be fetched. Bad content is no error here, but a delivery that does not decode.
    ///
    /// # Cancel safety
    /// Must be cancel safe: the engine drops the future at a time limit or a stop. A later fetch must return the
    /// deliveries that the external system has delivered by then. Dropping a [`Delivery`] gives it back.
    fn fetch(
        &self,
        request: &FetchRequest,
    ) -> impl Future<Output = Result<Vec<Delivery>, ConnectorError>> + Send;

    /// Settles deliveries: passes their dispositions to the external system. Default: does nothing.
    ///
    /// # Errors
    /// [`ConnectorError::partial`] names the settlements that failed or whose outcome is unknown. Any other error
    /// applies to all of them.
    fn settle(
        &self,
        settlements: Vec<Settlement>,
    ) -> impl Future<Output = Result<(), ConnectorError>> + Send {
        drop(settlements);
        std::future::ready(Ok(()))
    }

    /// Whether this program still owns the delivery, from memory. It does not after its connection is lost or its lease
    /// has expired, because the external system delivers the transaction again. Default: `true`.
    ///
    /// The engine asks before it runs an exception handler, and before it dispatches a dead letter, so that a duplicate
    /// of the delivery is not processed at the same time. It drops a delivery that is not owned any more, and counts it
    /// as unknown.
    fn holds(&self, receipt: &Receipt) -> bool {
        let _ = receipt;
        true
    }

    /// Reports the number of deliveries that are unsettled because their dead letter waits for its next attempt. They
    /// occupy no slot, and may wait for a long time. A source with a limit of unacknowledged deliveries raises it by
    /// this number, so that waiting deliveries do not stop the flow. Must return immediately. Default: does nothing.
    fn postponed(&self, count: usize) {
        let _ = count;
    }

    /// The endpoints that the source fetches from, without contacting them. May be called before `open`. Default:
    /// unknown.
    fn reads_from(&self) -> Vec<Endpoint> {
        Vec::new()
    }
}

/// A connector that accepts transactions.
///
/// ```
/// use std::sync::Mutex;
///
/// use ergon::connector::prelude::*;
///
/// #[derive(Default)]
/// struct Tray(Mutex<Vec<Transaction>>);
///
/// impl Connector for Tray {
///     const KIND: &'static str = "tray";
/// }
///
/// impl Sink for Tray {
///     async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
///         self.0.lock().unwrap().extend(transactions);
///         Ok(())
///     }
/// }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let tray = Tray::default();
/// tray.dispatch(vec![Transaction::new("a", &1).unwrap()]).await?;
/// assert_eq!(tray.0.lock().unwrap().len(), 1);
/// # Ok::<(), ConnectorError>(()) }).unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a sink",
    label = "nothing can be dispatched to this connector",
    note = "wire a connector that implements `Sink` here, or implement `Sink` for `{Self}`"
)]
pub trait Sink: Connector {
    /// Dispatches transactions. Returns only after the external system has stored all of them durably, because the
    /// engine acknowledges their source afterwards.
    ///
    /// # Errors
    /// [`ConnectorError::partial`] names the transactions that were not accepted. Any other error applies to all of
    /// them.
    ///
    /// # Cancel safety
    /// The engine may drop the future at a time limit or a stop, and later dispatch the transactions again with the
    /// same ids.
    fn dispatch(
        &self,
        transactions: Vec<Transaction>,
    ) -> impl Future<Output = Result<(), ConnectorError>> + Send;

    /// The buffer of a sink that can write the dispatches of a run together; see [`SinkBuffer`]. Default: none, so each
    /// dispatch of a task is a call of [`dispatch`](Self::dispatch), or a part of one.
    fn buffer(&self) -> Option<&dyn SinkBuffer> {
        None
    }

    /// The endpoints that the sink dispatches to, without contacting them. May be called before `open`. Default:
    /// unknown.
    fn writes_to(&self) -> Vec<Endpoint> {
        Vec::new()
    }
}

/// The config of a connector: plain data, usually read from the settings.
///
/// `#[derive(Connector)]` writes it, with one key for each setting of the connector.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a connector's config",
    label = "no connector can be made from this",
    note = "wire a config such as `ExcelConfig`, or the config that `#[derive(Connector)]` made for your connector"
)]
pub trait ConnectorConfig: Clone + Send + Sync + 'static {
    /// The connector that this config makes.
    type Connector: Connector;

    /// Makes the connector without contacting the external system, because several parts of a program may fail here
    /// before any of them connects. Connecting is [`Connector::open`]'s work.
    ///
    /// # Errors
    /// The value that can never work, by its key.
    fn build(&self, context: &Context) -> Result<Self::Connector, ConnectorError>;

    /// Checks the services that the connector is built of, for the command `check`. `#[derive(Connector)]` writes it.
    /// Default: there are none.
    ///
    /// # Errors
    /// The error of the first unhealthy service, with its field.
    fn check_inner(connector: &Self::Connector) -> impl Future<Output = Result<(), ConnectorError>> + Send {
        let _ = connector;
        std::future::ready(Ok(()))
    }
}

/// The surroundings of a connector, for [`ConnectorConfig::build`]: its task, its slot, and its share of the work.
///
/// ```
/// use ergon::connector::Context;
///
/// let mut context = Context::new("ship-orders", "input");
/// context.streaming = true;
/// assert!(context.shard.owns(7) && !context.is_restart);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Context {
    /// The task's name.
    pub task: String,
    /// The slot that the connector is wired to: `input`, `output`, ….
    pub slot: String,
    /// This worker's share of the work.
    pub shard: Shard,
    /// The direction that the connector is wired for.
    pub direction: Direction,
    /// The limit of unacknowledged deliveries of the task: its `concurrency` and `prefetch` together, or its
    /// `batch_size` with `mode = "batch"`. At least 1.
    pub max_in_flight: usize,
    /// Whether the task has its own dead-letter connector, so that the source never has to reject.
    pub has_dead_letter: bool,
    /// Whether the data at the external system may belong to the same work: a worker that replaces a dead worker
    /// continues its output, and a transaction that is processed by hand is added to a run's output. The connector must
    /// not remove any of the data then, even if the config says so.
    pub is_restart: bool,
    /// Whether the task continues when this source is empty: the consumer fetches from it, and its policy is
    /// `streaming`. A file source then follows its file.
    pub streaming: bool,
}

/// The direction that a connector is wired for. A connector with both roles needs it, because it must not create the
/// file that it is to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// The connector is only a source.
    Source,
    /// The connector is only a sink.
    Sink,
    /// The connector may be used in both directions. Prepare each direction at its first use.
    #[default]
    Any,
}

impl Context {
    /// A label for log lines, metrics and a broker's list of connections: task and slot, and the worker if there are
    /// several.
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

    /// Makes the context of a slot in a task with one worker.
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

/// A config whose connector is a [`Source`]. Implemented automatically.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the config of a source",
    label = "this slot needs the config of a source",
    note = "wire a config such as `JsonLinesConfig`, or the config that `#[derive(Connector)]` made for your connector"
)]
pub trait SourceConfig: ConnectorConfig<Connector: Source> {}

impl<C: ConnectorConfig<Connector: Source>> SourceConfig for C {}

/// A config whose connector is a [`Sink`]. Implemented automatically.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the config of a sink",
    label = "this slot needs the config of a sink",
    note = "wire a config such as `JsonLinesConfig`, or the config that `#[derive(Connector)]` made for your connector"
)]
pub trait SinkConfig: ConnectorConfig<Connector: Sink> {}

impl<C: ConnectorConfig<Connector: Sink>> SinkConfig for C {}

/// A config whose connector is both a [`Source`] and a [`Sink`]. Implemented automatically.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the config of a connector that is both source and sink",
    label = "this slot needs the config of a source and sink",
    note = "wire a config such as `JsonLinesConfig`, or the config that `#[derive(Connector)]` made for your connector"
)]
pub trait DuplexConfig: ConnectorConfig<Connector: Source + Sink> {}

impl<C: ConnectorConfig<Connector: Source + Sink>> DuplexConfig for C {}
