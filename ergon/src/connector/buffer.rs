//! Buffers of sinks, so that many dispatches share one write.
//!
//! A sink with a buffer keeps the dispatches of a run in memory. The engine flushes the buffers before each settlement,
//! so it never acknowledges a delivery whose transactions the external system does not have. One write then serves all
//! deliveries that are settled together. The engine gives a delivery back if a flush lost a transaction of that
//! delivery.
//!
//! Only the lanes of a run use buffers. Any other code, such as a task's `exit`, dispatches directly to the sink,
//! because no settlement follows there.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ConnectorError;
use crate::transaction::{Transaction, panic};

/// The number of the next transaction that is pushed, in the whole process. No transaction has the number 0.
static NEXT: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// The lane that this thread polls, if its run has sinks with buffers.
    static CURRENT: RefCell<Option<Lane>> = const { RefCell::new(None) };
}

/// Holds the transactions of a [`Sink`](super::Sink) in memory until the engine asks for them.
///
/// The engine calls [`push`](Self::push) in the place of [`Sink::dispatch`](super::Sink::dispatch) within the lanes of
/// a run, and [`flush`](Self::flush) before it settles. Both calls run on threads of the runtime, so neither may wait
/// for a network or a disk. A sink that has to wait must not offer a buffer.
///
/// ```
/// use std::sync::{Mutex, PoisonError};
///
/// use ergon::connector::prelude::*;
/// use ergon::connector::SinkBuffer;
///
/// /// Prints whole pages.
/// #[derive(Default)]
/// struct Pages {
///     held: Mutex<Vec<(u64, Transaction)>>,
///     lost: Mutex<Vec<u64>>,
/// }
///
/// impl Pages {
///     fn print(&self, page: &[Transaction]) -> Result<(), ConnectorError> { Ok(()) }
/// }
///
/// impl SinkBuffer for Pages {
///     fn push(&self, transactions: &[Transaction], first: u64) -> Option<Result<(), ConnectorError>> {
///         let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
///         held.extend((first..).zip(transactions.iter().cloned()));
///         Some(Ok(()))
///     }
///
///     fn flush(&self) -> Result<(), ConnectorError> {
///         let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
///         let (numbers, page): (Vec<u64>, Vec<Transaction>) = held.into_iter().unzip();
///         self.print(&page).inspect_err(|_| {
///             self.lost.lock().unwrap_or_else(PoisonError::into_inner).extend(numbers);
///         })
///     }
///
///     fn lost(&self) -> Vec<u64> {
///         self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
///     }
/// }
///
/// impl Connector for Pages {
///     const KIND: &'static str = "pages";
/// }
///
/// impl Sink for Pages {
///     async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
///         SinkBuffer::flush(self)?;
///         self.print(&transactions)
///     }
///
///     fn buffer(&self) -> Option<&dyn SinkBuffer> {
///         Some(self)
///     }
/// }
/// ```
pub trait SinkBuffer: Send + Sync {
    /// Takes transactions into the buffer; the first of them has the number `first`, and each of the others the next
    /// number. Returns `None` if the sink does not buffer now: the engine then dispatches the transactions.
    ///
    /// # Errors
    /// The errors of [`Sink::dispatch`](super::Sink::dispatch), for the transactions that the sink cannot accept.
    fn push(&self, transactions: &[Transaction], first: u64) -> Option<Result<(), ConnectorError>>;

    /// Writes all transactions of the buffer to the external system, in their order.
    ///
    /// # Errors
    /// The reason why the external system does not have some of them. The buffer is empty nevertheless, and
    /// [`lost`](Self::lost) names these transactions.
    fn flush(&self) -> Result<(), ConnectorError>;

    /// The numbers of all transactions that flushes have lost since the sink was made.
    fn lost(&self) -> Vec<u64>;
}

/// A sink of any type that may have a buffer.
pub(super) trait MayBuffer: Send + Sync {
    fn buffer(&self) -> Option<&dyn SinkBuffer>;
}

/// The transactions that one delivery has pushed into buffers: the numbers of the first and of the last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pushes {
    /// 0 if there is none.
    first: u64,
    last: u64,
}

impl Pushes {
    fn add(&mut self, first: u64, count: u64) {
        if self.first == 0 {
            self.first = first;
        }
        self.last = first.saturating_add(count).saturating_sub(1);
    }
}

/// The transactions that flushes have lost.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    /// In ascending order.
    numbers: Vec<u64>,
    /// A flush panicked, so any transaction may be lost.
    all: bool,
}

impl Lost {
    /// Returns whether no transaction was lost.
    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty() && !self.all
    }

    /// Returns whether a delivery has lost a transaction that it pushed. If lanes push at the same time, the lost
    /// transaction may also be that of another lane.
    pub(crate) fn is_of(&self, pushes: Pushes) -> bool {
        let at = self.numbers.partition_point(|number| *number < pushes.first);
        let within = self.numbers.get(at).is_some_and(|number| *number <= pushes.last);
        pushes.first != 0 && (self.all || within)
    }
}

/// The sinks of a run that have buffers.
#[derive(Clone)]
pub(crate) struct Buffers(Arc<[Arc<dyn MayBuffer>]>);

impl Buffers {
    /// Selects the sinks that have a buffer; `None` if no sink has a buffer.
    pub(super) fn of(sinks: impl Iterator<Item = Arc<dyn MayBuffer>>) -> Option<Self> {
        let sinks: Arc<[_]> = sinks.filter(|sink| sink.buffer().is_some()).collect();
        (!sinks.is_empty()).then_some(Self(sinks))
    }

    /// Runs a lane whose dispatches go through the buffers of its run, if the run has any.
    pub(crate) async fn around<F: Future>(buffers: Option<Self>, lane: F) -> F::Output {
        let Some(buffers) = buffers else { return lane.await };
        let (mut current, mut lane) = (Some(Lane { buffers, pushes: Pushes::default() }), pin!(lane));
        poll_fn(|context| {
            let _entered = Entered::new(&mut current);
            lane.as_mut().poll(context)
        })
        .await
    }

    /// Flushes all buffers; returns the lost transactions, and the errors of the flushes that failed in this call.
    pub(crate) fn flush(&self) -> (Lost, Vec<ConnectorError>) {
        let (mut lost, mut errors) = (Lost::default(), Vec::new());
        for buffer in self.0.iter().filter_map(|sink| sink.buffer()) {
            match panic::caught(|| (buffer.flush(), buffer.lost())) {
                Ok((flushed, numbers)) => {
                    errors.extend(flushed.err());
                    lost.numbers.extend(numbers);
                }
                Err(said) => {
                    lost.all = true;
                    errors.push(ConnectorError::unknown(said));
                }
            }
        }
        lost.numbers.sort_unstable();
        (lost, errors)
    }

    fn has(&self, sink: &dyn MayBuffer) -> bool {
        self.0.iter().any(|own| std::ptr::addr_eq(Arc::as_ptr(own), sink))
    }
}

impl std::fmt::Debug for Buffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Buffers").field(&self.0.len()).finish()
    }
}

/// A lane of a run that has sinks with buffers.
struct Lane {
    buffers: Buffers,
    /// The pushes of the delivery that the lane has.
    pushes: Pushes,
}

/// Pushes transactions into the buffer of a sink. `None` if the running code is not a lane whose run flushes this sink.
pub(super) fn push(sink: &dyn MayBuffer, transactions: &[Transaction]) -> Option<Result<(), ConnectorError>> {
    CURRENT.with(|current| {
        let mut current = current.try_borrow_mut().ok()?;
        let Lane { buffers, pushes } = current.as_mut().filter(|_| !transactions.is_empty())?;
        let buffer = sink.buffer().filter(|_| buffers.has(sink))?;
        let count = transactions.len() as u64;
        // `Relaxed`, because the counter publishes no other data.
        let first = NEXT.fetch_add(count, Ordering::Relaxed);
        let pushed = buffer.push(transactions, first)?;
        pushes.add(first, count);
        Some(pushed)
    })
}

/// Takes out the pushes of the running lane's delivery.
pub(crate) fn take_pushes() -> Pushes {
    let taken = CURRENT.with(|current| {
        let mut current = current.try_borrow_mut().ok()?;
        current.as_mut().map(|lane| std::mem::take(&mut lane.pushes))
    });
    taken.unwrap_or_default()
}

/// Makes a lane the current one of this thread, until the value is dropped.
struct Entered<'a>(&'a mut Option<Lane>);

impl<'a> Entered<'a> {
    fn new(lane: &'a mut Option<Lane>) -> Self {
        swap(lane);
        Self(lane)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        swap(self.0);
    }
}

fn swap(lane: &mut Option<Lane>) {
    CURRENT.with(|current| {
        if let Ok(mut current) = current.try_borrow_mut() {
            std::mem::swap(&mut *current, lane);
        }
    });
}
