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
    /// What happened.
    pub event: Event,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8} ms  {}", self.at, self.event)
    }
}

/// One passage of a delivery through the steps: one that is held for a later try has several, each with the next
/// count of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life {
    /// The delivery's number; each that the source hands out has its own.
    pub delivery: u64,
    /// How often the transaction was delivered, as the handlers see it.
    pub round: u32,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} (round {})", self.delivery, self.round)
    }
}

/// What happens in a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// The source was asked for at most this many.
    Asked(usize),
    /// The source handed out a delivery.
    HandedOut {
        /// Its number.
        delivery: u64,
        /// Which transaction it is of.
        transaction: usize,
        /// That transaction's id; several may have the same.
        id: usize,
        /// How often the transaction was handed out.
        deliveries: u32,
    },
    /// The source had nothing, and said so.
    Empty,
    /// The source's answer to a fetch was an error, or it was not waited for.
    FetchFailed,
    /// A handler was entered.
    Begun(Life, Step),
    /// A handler was left.
    Ended(Life, Step, How),
    /// A transaction was dispatched to the dead-letter connector, and this was the answer.
    Letter(Life, ItemOutcome),
    /// The source was told what became of a delivery.
    Settled {
        /// The number on the receipt.
        delivery: u64,
        /// Whether the receipt is the one that the source made for that delivery.
        genuine: bool,
        /// What became of it.
        disposition: Disposition,
        /// Whether the source did it.
        applied: bool,
        /// What the engine was told.
        told: ItemOutcome,
    },
    /// Something failed, or was slow, on purpose.
    Fault(&'static str),
    /// The run was told to stop.
    Stopped,
    /// The run is over.
    Over(Summary),
}

/// How a handler was left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum How {
    /// Process or success ended well.
    Completed,
    /// The exception handler ended well.
    Decided(Disposition),
    /// It returned an error.
    Failed(Category),
    /// It panicked.
    Panicked,
    /// It was dropped on the way.
    Cancelled,
}

/// What a run says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Why it ended.
    pub end: End,
    /// Deliveries that were fetched.
    pub fetched: u64,
    /// Transactions that succeeded.
    pub succeeded: u64,
    /// Transactions that the dead-letter connector took.
    pub dead_lettered: u64,
    /// Settlements that the source did not take, or may not have taken.
    pub unknown: u64,
    /// Transactions that can be fetched and were not, other than those that the source took back by itself.
    pub left: usize,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The source was empty.
    SourceEmpty,
    /// The limit was reached.
    LimitReached,
    /// It was told to stop, or its time was over.
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
