//! Writes the dispatches to one open file, many dispatches in one write.
//!
//! The cost of a write hardly depends on the number of its lines. So dispatches share a write, in one of two ways:
//!
//! - **Buffered**: a dispatch of a run adds its line to a [buffer](super::held), which the engine flushes before it
//!   settles. A file that writes without waiting has a buffer.
//! - **Direct**: a dispatch returns when its lines are in the file. Dispatches that arrive during a write share the
//!   next write. That is one lock, one check of the file and one write, and with [`Fsync::Each`](super::Fsync::Each)
//!   one wait for the disk. If no other dispatch is there, a dispatch is written immediately.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::{spawn_blocking, yield_now};

use super::append::AppendFile;
use super::batch::Batch;
use super::codec::Encoder;
use super::held::Held;
use crate::connector::{ConnectorError, ItemOutcome, SinkBuffer};
use crate::transaction::Transaction;

/// While no dispatch joins another, only one dispatch of this many waits for others. So the file notices when
/// dispatches start to arrive at the same time, and all other dispatches lose no time.
const LOOKS_AROUND: u32 = 64;
/// The number of times that a dispatch also writes the dispatches that arrived during its own write. After that,
/// another task writes them, so that no dispatch works for others without end.
const MOST_ROUNDS: usize = 2;

/// The file of a sink, for all of its dispatches.
#[derive(Debug)]
pub(super) struct Coalescing<E> {
    state: Mutex<State<E>>,
    /// Wakes `close` when the file is idle again.
    idle: Notify,
    /// Wakes a flush when the file is idle again. A flush blocks its thread, so it needs a `Condvar`.
    idle_for_flush: Condvar,
    /// Whether several dispatches may arrive at the same time.
    several: bool,
    /// A reference to this value, for a task that continues the writing.
    this: Weak<Self>,
}

#[derive(Debug)]
struct State<E> {
    slot: Slot<E>,
    waiting: Vec<Waiting>,
    /// Whether the file may have a buffer: it writes without waiting.
    buffers: bool,
    /// Whether a dispatch is about to write the waiting dispatches.
    led: bool,
    /// Whether any dispatch joined the last write that waited for others.
    joined: bool,
    /// The number of dispatches that found the file idle.
    alone: u32,
}

#[derive(Debug)]
enum Slot<E> {
    Unopened,
    Idle(Box<OpenFile<E>>),
    /// The file is with a dispatch or flush that writes.
    Busy,
    Closed,
}

/// A file that is open for writing.
#[derive(Debug)]
pub(super) struct OpenFile<E> {
    pub(super) file: AppendFile,
    pub(super) encoder: E,
    /// The lines of the next direct write; reused by each write.
    batch: Batch,
    /// The lines that wait for the next flush.
    held: Held,
}

type Outcome = Result<(), ConnectorError>;

/// A dispatch that waits to be written.
#[derive(Debug)]
struct Waiting {
    transactions: Vec<Transaction>,
    done: oneshot::Sender<Outcome>,
}

impl<E: Encoder> Coalescing<E> {
    /// Makes the state of a file that is not open yet. `several` says whether dispatches may arrive at the same time.
    pub(super) fn new(several: bool) -> Arc<Self> {
        let state = State {
            slot: Slot::Unopened,
            waiting: Vec::new(),
            buffers: false,
            led: false,
            joined: false,
            alone: 0,
        };
        Arc::new_cyclic(|this| Self {
            state: Mutex::new(state),
            idle: Notify::new(),
            idle_for_flush: Condvar::new(),
            several,
            this: Weak::clone(this),
        })
    }

    /// Returns whether the file is not open yet.
    pub(super) fn is_unopened(&self) -> bool {
        matches!(self.state().slot, Slot::Unopened)
    }

    /// Accepts the opened file; returns false if the sink was closed in the meantime.
    pub(super) fn opened(&self, file: OpenFile<E>) -> bool {
        let mut state = self.state();
        let is_open = matches!(state.slot, Slot::Unopened);
        if is_open {
            state.buffers = !file.file.may_wait();
            state.slot = Slot::Idle(Box::new(file));
        }
        is_open
    }

    /// Starts the file if it is open: empties it if the options ask for it.
    pub(super) fn start(&self) -> Outcome {
        match &mut self.state().slot {
            Slot::Idle(open) => {
                open.encoder.start();
                open.file.start()
            }
            Slot::Unopened | Slot::Busy | Slot::Closed => Ok(()),
        }
    }

    /// Looks at the open file, if it is open and idle.
    pub(super) fn look<T>(&self, look: impl FnOnce(&E) -> T) -> Option<T> {
        match &self.state().slot {
            Slot::Idle(open) => Some(look(&open.encoder)),
            Slot::Unopened | Slot::Busy | Slot::Closed => None,
        }
    }

    /// Takes out the file permanently; waits for a write that is under way.
    pub(super) async fn close(&self) -> Option<OpenFile<E>> {
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            // Registered before the look at the state, so that a write which ends in between still wakes this call.
            idle.as_mut().enable();
            {
                let mut state = self.state();
                if !matches!(state.slot, Slot::Busy) {
                    return match std::mem::replace(&mut state.slot, Slot::Closed) {
                        Slot::Idle(open) => Some(*open),
                        Slot::Unopened | Slot::Busy | Slot::Closed => None,
                    };
                }
            }
            idle.await;
        }
    }

    /// Writes the transactions, perhaps together with those of other dispatches. The file is open.
    ///
    /// # Cancel safety
    /// When cancelled, the transactions may have been written or not.
    pub(super) async fn dispatch(self: &Arc<Self>, transactions: Vec<Transaction>) -> Outcome {
        match self.enter(transactions) {
            Entered::Alone(mut turn, transactions) => {
                let outcome = turn.write(&transactions);
                turn.go_on();
                outcome
            }
            Entered::Joined(outcome) => received(outcome.await),
            Entered::Leads { outcome, waits } => {
                if waits {
                    // Such a write may wait for a disk or for another program, and must not block a thread of the
                    // runtime.
                    let file = Arc::clone(self);
                    drop(spawn_blocking(move || drop(Leader(&file))));
                } else {
                    let mut leading = Leading { outcome, leader: Some(Leader(self)) };
                    // Other tasks that can run now get the chance to dispatch, so that their lines go into the same
                    // write.
                    yield_now().await;
                    drop(leading.leader.take());
                    return received((&mut leading.outcome).await);
                }
                received(outcome.await)
            }
        }
    }

    fn enter(&self, transactions: Vec<Transaction>) -> Entered<'_, E> {
        let mut state = self.state();
        let waits = match &state.slot {
            Slot::Idle(open) => open.file.may_wait(),
            Slot::Unopened | Slot::Busy | Slot::Closed => false,
        };
        let is_idle = matches!(state.slot, Slot::Idle(_)) && !state.led;
        if is_idle
            && !waits
            && !self.gathers(&mut state)
            && let Slot::Idle(open) = std::mem::replace(&mut state.slot, Slot::Busy)
        {
            return Entered::Alone(Turn { file: self, open: Some(open) }, transactions);
        }
        let (done, outcome) = oneshot::channel();
        state.waiting.push(Waiting { transactions, done });
        if matches!(state.slot, Slot::Busy) || state.led {
            return Entered::Joined(outcome);
        }
        state.led = true;
        Entered::Leads { outcome, waits }
    }

    /// Returns whether a dispatch waits until other tasks have run, because others are likely to join it.
    fn gathers(&self, state: &mut State<E>) -> bool {
        if !self.several {
            return false;
        }
        state.alone = state.alone.wrapping_add(1);
        state.joined || state.alone.is_multiple_of(LOOKS_AROUND)
    }

    /// Waits until no write is under way, and returns the state. A write of a buffered file waits for no disk and no
    /// other program, so this wait is short. A file without a buffer is not waited for.
    fn not_busy(&self) -> MutexGuard<'_, State<E>> {
        let mut state = self.state();
        while matches!(state.slot, Slot::Busy) && state.buffers {
            state = self.idle_for_flush.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    fn state(&self) -> MutexGuard<'_, State<E>> {
        // A poisoned lock is used too: a panic of an encoder leaves at most a part of a line, which the next push or
        // flush removes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that writes without waiting has a buffer. A write under way takes no line into the buffer: the dispatch joins
/// that write instead.
impl<E: Encoder> SinkBuffer for Coalescing<E> {
    fn push(&self, transactions: &[Transaction], first: u64) -> Option<Outcome> {
        match &mut self.state().slot {
            Slot::Idle(open) => {
                let OpenFile { file, encoder, held, .. } = &mut **open;
                held.push(transactions, first, (file, encoder))
            }
            Slot::Unopened | Slot::Busy | Slot::Closed => None,
        }
    }

    fn flush(&self) -> Outcome {
        let mut state = self.not_busy();
        if !matches!(&state.slot, Slot::Idle(open) if open.held.has_lines()) {
            return Ok(());
        }
        // The lock is free during the write, so dispatches that arrive then can queue for the next write.
        let mut turn = match std::mem::replace(&mut state.slot, Slot::Busy) {
            Slot::Idle(open) => Turn { file: self, open: Some(open) },
            other => {
                state.slot = other;
                return Ok(());
            }
        };
        drop(state);
        let written = turn.open.as_mut().map_or(Ok(()), |open| open.flush());
        turn.go_on();
        written
    }

    fn lost(&self) -> Vec<u64> {
        match &self.not_busy().slot {
            Slot::Idle(open) => open.held.lost(),
            Slot::Unopened | Slot::Busy | Slot::Closed => Vec::new(),
        }
    }
}

/// The part that a dispatch has in the next write.
enum Entered<'a, E: Encoder> {
    /// The dispatch writes immediately.
    Alone(Turn<'a, E>, Vec<Transaction>),
    /// The dispatch waits for another dispatch that writes.
    Joined(oneshot::Receiver<Outcome>),
    /// The dispatch writes for all that wait; `waits` if a write may take long.
    Leads { outcome: oneshot::Receiver<Outcome>, waits: bool },
}

/// Writes all waiting dispatches when it is dropped, also if its own dispatch is cancelled before.
struct Leader<'a, E: Encoder>(&'a Coalescing<E>);

/// A dispatch that writes for all, after other tasks had the chance to join. If it is cancelled before the write, it is
/// not written, and the others are.
struct Leading<'a, E: Encoder> {
    outcome: oneshot::Receiver<Outcome>,
    /// Writes when it is dropped, after the outcome.
    leader: Option<Leader<'a, E>>,
}

impl<E: Encoder> Drop for Leader<'_, E> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.led = false;
        if std::thread::panicking() {
            // A write now could panic again, and a panic during a panic ends the process. The waiting dispatches get an
            // unknown outcome, because their channels are dropped.
            state.waiting.clear();
            return;
        }
        match std::mem::replace(&mut state.slot, Slot::Busy) {
            Slot::Idle(open) => {
                state.joined = state.waiting.len() > 1;
                drop(state);
                Turn { file: self.0, open: Some(open) }.go_on();
            }
            // A flush took the file first. Its turn writes what waits, or starts another leader.
            Slot::Busy => {}
            other => {
                state.slot = other;
                for waiting in state.waiting.drain(..) {
                    let closed = ConnectorError::permanent("the file was closed before this dispatch");
                    let _gave_up = waiting.done.send(Err(closed));
                }
            }
        }
    }
}

/// The file while a dispatch writes; returned when this value is dropped.
struct Turn<'a, E: Encoder> {
    file: &'a Coalescing<E>,
    open: Option<Box<OpenFile<E>>>,
}

impl<E: Encoder> Turn<'_, E> {
    fn write(&mut self, transactions: &[Transaction]) -> Outcome {
        match &mut self.open {
            Some(open) => open.write(transactions),
            None => Err(ConnectorError::unknown("the file is not open")),
        }
    }

    /// Writes the dispatches that wait by now.
    fn go_on(mut self) {
        for _ in 0..MOST_ROUNDS {
            let waiting = std::mem::take(&mut self.file.state().waiting);
            if waiting.is_empty() {
                break;
            }
            if let Some(open) = &mut self.open {
                open.write_together(waiting);
            }
        }
    }
}

impl<E: Encoder> Drop for Turn<'_, E> {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        let waits = open.file.may_wait();
        let mut state = self.file.state();
        state.slot = Slot::Idle(open);
        if std::thread::panicking() {
            // The waiting dispatches get an unknown outcome, because their channels are dropped.
            state.waiting.clear();
        }
        let left = !state.waiting.is_empty() && !state.led;
        let next = if left { self.file.this.upgrade().zip(Handle::try_current().ok()) } else { None };
        match next {
            Some((file, runtime)) => {
                state.led = true;
                drop(state);
                // A flush blocks its thread, so it may go first. A waiting `close` is woken after the last dispatch.
                self.file.idle_for_flush.notify_all();
                if waits {
                    drop(runtime.spawn_blocking(move || drop(Leader(&file))));
                } else {
                    drop(runtime.spawn(async move { drop(Leader(&file)) }));
                }
            }
            None => {
                drop(state);
                self.file.idle.notify_waiters();
                self.file.idle_for_flush.notify_all();
            }
        }
    }
}

impl<E: Encoder> OpenFile<E> {
    pub(super) fn new(file: AppendFile, encoder: E) -> Self {
        Self { file, encoder, batch: Batch::default(), held: Held::default() }
    }

    fn encode(&mut self, transactions: &[Transaction]) {
        let Self { file, encoder, batch, .. } = self;
        batch.clear();
        for transaction in transactions {
            batch.offer(|line| encoder.encode(transaction, line, file));
        }
    }

    fn append(&mut self) -> Outcome {
        let Self { file, encoder, batch, held } = self;
        let written = file.append(batch, |file, tail| encoder.ending(file, tail));
        if written.is_ok() {
            held.resume();
        }
        written
    }

    /// Writes the transactions, after the lines that wait for a flush.
    fn write(&mut self, transactions: &[Transaction]) -> Outcome {
        // The lines in the buffer are written first, to keep the order. The flush before the next settlement reports
        // the lines that are lost here.
        let _lost = self.flush();
        self.encode(transactions);
        self.append()
    }

    /// Writes the lines that wait for a flush.
    pub(super) fn flush(&mut self) -> Outcome {
        let Self { file, encoder, held, .. } = self;
        held.flush(file, encoder)
    }

    /// Writes several dispatches in one write, and reports to each dispatch the outcome of its transactions.
    fn write_together(&mut self, mut waiting: Vec<Waiting>) {
        // A cancelled dispatch, for example after a time limit, may be made again. Writing it now would duplicate its
        // lines.
        waiting.retain(|waiting| !waiting.done.is_closed());
        if let [_] = waiting.as_slice() {
            for Waiting { transactions, done } in waiting {
                let _gave_up = done.send(self.write(&transactions));
            }
            return;
        }
        let (mut all, mut each) = (Vec::with_capacity(waiting.len()), Vec::with_capacity(waiting.len()));
        for Waiting { mut transactions, done } in waiting {
            each.push((transactions.len(), done));
            all.append(&mut transactions);
        }
        let _lost = self.flush();
        self.encode(&all);
        let mut refused = self.batch.take_refused().into_iter().peekable();
        let written = self.append();
        let mut from = 0;
        for (count, done) in each {
            let mut own = Vec::new();
            while let Some((item, error)) = refused.next_if(|(item, _)| *item < from + count) {
                own.push((item.saturating_sub(from), error));
            }
            let _gave_up = done.send(own_outcome(&written, (from, count), own));
            from += count;
        }
    }
}

/// Makes the outcome of one dispatch. Its transactions are `count` of the transactions that were written together, from
/// index `from` on. `refused` has the transactions of this dispatch that could not be encoded.
fn own_outcome(
    written: &Outcome,
    (from, count): (usize, usize),
    mut refused: Vec<(usize, ConnectorError)>,
) -> Outcome {
    if let Err(error) = written {
        let is_lost = |item: &usize| {
            error.outcome(from + item) != ItemOutcome::Done && refused.iter().all(|(other, _)| other != item)
        };
        let lost: Vec<usize> = (0..count).filter(is_lost).collect();
        if lost.len() == count {
            return Err(copied(error));
        }
        refused.extend(lost.into_iter().map(|item| (item, copied(error))));
    }
    if refused.is_empty() { Ok(()) } else { Err(ConnectorError::partial(refused)) }
}

/// Copies an error for another dispatch.
fn copied(error: &ConnectorError) -> ConnectorError {
    let message = error.message();
    let mut copy = if error.is_closed() {
        ConnectorError::closed(message)
    } else if error.is_permanent() {
        ConnectorError::permanent(message)
    } else if error.outcome(0) == ItemOutcome::Unknown {
        ConnectorError::unknown(message)
    } else {
        ConnectorError::transient(message)
    };
    if let Some(cause) = std::error::Error::source(error) {
        copy = copy.with_source(cause.to_string());
    }
    match error.hint() {
        Some(hint) => copy.with_hint(hint),
        None => copy,
    }
}

fn received(outcome: Result<Outcome, oneshot::error::RecvError>) -> Outcome {
    outcome.unwrap_or_else(|_| Err(ConnectorError::unknown("the write did not come to its end")))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::task::{Context, Poll, Waker};

    use futures_util::future::join_all;

    use super::super::append::{Fsync, WriteOptions};
    use super::*;

    /// Writes numbers; refuses negative ones, and panics at the largest.
    #[derive(Debug)]
    struct Numbers;

    impl Encoder for Numbers {
        fn encode(
            &mut self,
            transaction: &Transaction,
            line: &mut Vec<u8>,
            _: &mut AppendFile,
        ) -> Result<bool, ConnectorError> {
            let number: i64 = transaction.decode().unwrap();
            assert_ne!(number, i64::MAX);
            if number < 0 {
                return Err(ConnectorError::permanent(format!("{number} is negative")));
            }
            line.extend_from_slice(number.to_string().as_bytes());
            Ok(true)
        }
    }

    async fn opened(path: &Path, fsync: Fsync) -> Arc<Coalescing<Numbers>> {
        let file = AppendFile::open(path, WriteOptions { fsync, ..WriteOptions::default() }).await.unwrap();
        let out = Coalescing::new(true);
        assert!(out.opened(OpenFile::new(file, Numbers)));
        out
    }

    fn of(number: i64) -> Vec<Transaction> {
        vec![Transaction::new(number.to_string(), &number).unwrap()]
    }

    fn sorted(path: &Path) -> Vec<i64> {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
        let mut numbers: Vec<i64> = text.lines().map(|line| line.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }

    fn path(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("out")
    }

    /// Starts a dispatch that waits for others; the returned future was polled once.
    fn begun<'a>(
        out: &'a Arc<Coalescing<Numbers>>,
        number: i64,
    ) -> std::pin::Pin<Box<dyn Future<Output = Outcome> + 'a>> {
        out.state().joined = true;
        let mut dispatch = Box::pin(out.dispatch(of(number)));
        let polled = dispatch.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Pending), "{number} waits for others");
        dispatch
    }

    #[tokio::test]
    async fn what_is_dispatched_at_the_same_time_is_written_once_each() {
        for fsync in [Fsync::End, Fsync::Each] {
            let folder = tempfile::tempdir().unwrap();
            let out = opened(&path(&folder), fsync).await;
            for round in 0..10 {
                let dispatches = (0..100).map(|n| out.dispatch(of(round * 100 + n)));
                assert!(join_all(dispatches).await.iter().all(Result::is_ok), "{fsync:?}");
                assert_eq!(sorted(&path(&folder)), (0..(round + 1) * 100).collect::<Vec<_>>());
            }
        }
    }

    #[tokio::test]
    async fn a_dispatch_learns_of_its_own_transactions_alone() {
        let folder = tempfile::tempdir().unwrap();
        let out = opened(&path(&folder), Fsync::End).await;
        let (first, many) = (begun(&out, 1), out.dispatch([of(2), of(-3), of(4), of(-5)].concat()));
        let (first, many, last) = tokio::join!(first, many, out.dispatch(of(-6)));
        first.unwrap();
        let error = many.unwrap_err();
        let outcomes: Vec<_> = (0..4).map(|item| error.outcome(item) == ItemOutcome::Done).collect();
        assert_eq!(outcomes, [true, false, true, false]);
        assert_eq!(last.unwrap_err().message(), "-6 is negative");
        assert_eq!(sorted(&path(&folder)), [1, 2, 4]);
    }

    #[tokio::test]
    async fn a_write_that_fails_is_reported_to_each_dispatch_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let out = opened(&path(&folder), Fsync::End).await;
        out.dispatch(of(1)).await.unwrap();
        std::fs::remove_file(path(&folder)).unwrap();
        let (first, second) = tokio::join!(begun(&out, 2), out.dispatch(of(3)));
        for error in [first.unwrap_err(), second.unwrap_err()] {
            assert!(error.is_closed() && error.hint().is_some(), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_dispatch_that_is_cancelled_holds_up_no_other_and_is_not_written_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let out = opened(&path(&folder), Fsync::End).await;
        let first = begun(&out, 1);
        let (second, third) = (begun(&out, 2), begun(&out, 3));
        drop(third);
        drop(first);
        second.await.unwrap();
        assert_eq!(sorted(&path(&folder)), [2], "what was given up is dispatched again");
        out.dispatch(of(4)).await.unwrap();
    }

    #[tokio::test]
    async fn a_dispatch_that_waits_while_a_flush_has_the_file_is_written_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let out = opened(&path(&folder), Fsync::End).await;
        out.push(&of(1), 10).unwrap().unwrap();
        let dispatch = begun(&out, 2);
        let Slot::Idle(open) = std::mem::replace(&mut out.state().slot, Slot::Busy) else { unreachable!() };
        let mut flush = Turn { file: &out, open: Some(open) };
        // The dispatch leads, and finds the file taken.
        let mut dispatch = dispatch;
        let polled = dispatch.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Pending), "{polled:?}");
        flush.open.as_mut().unwrap().flush().unwrap();
        drop(flush);
        dispatch.await.unwrap();
        assert_eq!(sorted(&path(&folder)), [1, 2]);
    }

    #[tokio::test]
    async fn a_flush_that_fails_names_what_it_lost_and_the_next_dispatch_reports_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let out = opened(&path(&folder), Fsync::End).await;
        let pushed = out.push(&[of(1), of(-2), of(3)].concat(), 10).unwrap().unwrap_err();
        let done: Vec<_> = (0..3).map(|item| pushed.outcome(item) == ItemOutcome::Done).collect();
        assert_eq!(done, [true, false, true]);
        assert_eq!(sorted(&path(&folder)), [0_i64; 0], "nothing is written before the flush");
        out.dispatch(of(4)).await.unwrap();
        assert_eq!(std::fs::read_to_string(path(&folder)).unwrap(), "1\n3\n4\n", "the order stays");
        out.push(&of(5), 20).unwrap().unwrap();
        std::fs::remove_file(path(&folder)).unwrap();
        assert!(out.flush().unwrap_err().is_closed());
        assert_eq!(out.lost(), [20]);
        assert!(out.push(&of(6), 21).is_none(), "the sink buffers nothing");
        assert!(out.dispatch(of(6)).await.unwrap_err().is_closed());
        out.flush().unwrap();
        assert_eq!(out.lost(), [20]);
    }

    #[tokio::test]
    async fn a_buffer_is_written_when_it_is_full_and_what_waits_for_the_disk_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let out = opened(&path(&folder), Fsync::Never).await;
        let mut pushed = 0;
        while sorted(&path(&folder)).is_empty() {
            pushed += 1;
            out.push(&of(1 << 60), pushed).unwrap().unwrap();
            assert!(pushed < 1 << 20);
        }
        assert!(pushed > 1000);
        let waits = opened(&folder.path().join("other"), Fsync::Each).await;
        assert!(waits.push(&of(1), 1).is_none());
        waits.flush().unwrap();
    }

    #[tokio::test]
    async fn a_panic_while_a_dispatch_is_encoded_leaves_the_file_to_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let out = opened(&path(&folder), Fsync::End).await;
        let panics = Arc::clone(&out);
        assert!(
            tokio::spawn(async move { panics.dispatch(of(i64::MAX)).await }).await.unwrap_err().is_panic()
        );
        out.dispatch(of(1)).await.unwrap();
        assert!(out.close().await.is_some());
        assert_eq!(sorted(&path(&folder)), [1]);
    }

    #[tokio::test]
    async fn who_dispatches_after_the_close_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let out = opened(&path(&folder), Fsync::End).await;
        let waits = begun(&out, 1);
        assert!(out.close().await.is_some());
        assert!(waits.await.unwrap_err().is_permanent());
        assert!(out.dispatch(of(2)).await.unwrap_err().is_permanent());
        assert!(out.close().await.is_none());
        assert_eq!(sorted(&path(&folder)), [0_i64; 0]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn lanes_on_several_threads_lose_and_double_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let out = opened(&path(&folder), Fsync::Never).await;
        let lanes = (0..64).map(|lane| {
            let out = Arc::clone(&out);
            tokio::spawn(async move {
                for n in 0..50 {
                    out.dispatch(of(lane * 50 + n)).await.unwrap();
                }
            })
        });
        for lane in lanes.collect::<Vec<_>>() {
            lane.await.unwrap();
        }
        assert_eq!(sorted(&path(&folder)), (0..3200).collect::<Vec<_>>());
    }
}
