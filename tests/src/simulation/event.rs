//! Defines the events of a simulated run: the calls of the task, the source and the sinks, as an observer sees them.

use std::fmt;

use ergon::connector::{Disposition, ItemOutcome};
use ergon::telemetry::Step;
use ergon::transaction::Category;

/// An event, and when it happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// Virtual milliseconds since the run began.
    pub at: u64,
    /// The event.
    pub event: Event,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8} ms  {}", self.at, self.event)
    }
}

/// One life of a delivery: one passage through the steps. A delivery that is held for a later retry has several lives,
/// each with the next count of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life {
    /// The number of the delivery, unique in the run.
    pub delivery: u64,
    /// The number of deliveries of the transaction, as the handlers see it.
    pub round: u32,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} (round {})", self.delivery, self.round)
    }
}

/// An event of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// A fetch asked the source for at most this many deliveries.
    Asked(usize),
    /// The source delivered a transaction.
    HandedOut {
        /// Its number.
        delivery: u64,
        /// The transaction.
        transaction: usize,
        /// The id of the transaction. Several transactions may have the same id.
        id: usize,
        /// The number of deliveries of the transaction.
        deliveries: u32,
    },
    /// The source reported that it is empty.
    Empty,
    /// The source answered a fetch with an error, or the fetch was cancelled.
    FetchFailed,
    /// A handler was called.
    Begun(Life, Step),
    /// A handler ended.
    Ended(Life, Step, How),
    /// A transaction was dispatched to the dead-letter connector, with this answer.
    Letter(Life, ItemOutcome),
    /// A delivery was settled.
    Settled {
        /// The number on the receipt.
        delivery: u64,
        /// Whether the receipt is the one that the source made for that delivery.
        genuine: bool,
        /// The disposition.
        disposition: Disposition,
        /// Whether the source applied it.
        applied: bool,
        /// The answer to the engine.
        told: ItemOutcome,
    },
    /// An injected failure or delay.
    Fault(&'static str),
    /// The run was stopped.
    Stopped,
    /// The run is over.
    Over(Summary),
}

/// The end of a handler.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum How {
    /// Process or success succeeded.
    Completed,
    /// The exception handler succeeded.
    Decided(Disposition),
    /// The handler returned an error.
    Failed(Category),
    /// The handler panicked.
    Panicked,
    /// The handler was dropped before its end.
    Cancelled,
}

/// The summary of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Why it ended.
    pub end: End,
    /// Deliveries that were fetched.
    pub fetched: u64,
    /// Transactions that succeeded.
    pub succeeded: u64,
    /// Transactions that the dead-letter connector accepted.
    pub dead_lettered: u64,
    /// Settlements that the source did not confirm.
    pub unknown: u64,
    /// Transactions that can be fetched and were not fetched, without transactions that the source took back by itself.
    pub left: usize,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The source was empty.
    SourceEmpty,
    /// The limit was reached.
    LimitReached,
    /// The run was stopped, or its time limit ended.
    Stopped,
    /// It failed.
    Failed,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(max) => write!(f, "fetch, at most {max}"),
            Self::HandedOut { delivery, transaction, id, deliveries } => {
                write!(f, "handed out #{delivery}: transaction {transaction}, id t{id}, time {deliveries}")
            }
            Self::Empty => f.write_str("fetched nothing"),
            Self::FetchFailed => f.write_str("fetch failed"),
            Self::Begun(life, step) => write!(f, "{step} of {life} begins"),
            Self::Ended(life, step, how) => write!(f, "{step} of {life} ends: {how:?}"),
            Self::Letter(life, fate) => write!(f, "dead letter of {life}: {fate:?}"),
            Self::Settled { delivery, disposition, applied, told, .. } => {
                write!(f, "settle #{delivery}: {disposition:?}; applied: {applied}, told: {told:?}")
            }
            Self::Fault(what) => write!(f, "fault: {what}"),
            Self::Stopped => f.write_str("told to stop"),
            Self::Over(summary) => write!(f, "over: {summary:?}"),
        }
    }
}
