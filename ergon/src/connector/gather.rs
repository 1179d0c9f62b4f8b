//! What several dispatch at the same time goes to the sink in one call.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::handle::AnySink;
use super::{ConnectorError, ItemOutcome};
use crate::transaction::{Result, Transaction, TransactionError};

/// Collects transactions while a call is under way, and hands them over together in the next.
///
/// Nothing waits for others to come: the first one begins a call at once. As many as go in one call begin another
/// beside those under way.
pub(super) struct Gather {
    sink: Arc<dyn AnySink>,
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Waiting>,
    /// How many calls are under way; who makes one takes what waits when it is over.
    calls: usize,
}

struct Waiting {
    transaction: Transaction,
    done: oneshot::Sender<Result<()>>,
}

impl Gather {
    /// Hands over at most `most` in one call.
    pub(super) fn new(sink: Arc<dyn AnySink>, most: usize) -> Arc<Self> {
        Arc::new(Self { sink, most, state: Mutex::default() })
    }

    /// Hands one transaction over, perhaps together with others; what is returned ends when the other side has it for
    /// good.
    ///
    /// # Cancel safety
    /// When cancelled before the call begins, the transaction is not handed over; after that, it may be or not.
    ///
    /// What is returned has no value if the call panicked.
    pub(super) fn begin(self: &Arc<Self>, transaction: Transaction) -> oneshot::Receiver<Result<()>> {
        let (begins, outcome) = self.join(transaction);
        if begins {
            let gather = Arc::clone(self);
            tokio::spawn(async move { Calling(gather).run().await });
        }
        outcome
    }

    /// Puts a transaction with those that wait; says whether somebody has to begin a call.
    fn join(&self, transaction: Transaction) -> (bool, oneshot::Receiver<Result<()>>) {
        let (done, outcome) = oneshot::channel();
        let mut state = self.state();
        state.waiting.push(Waiting { transaction, done });
        let begins = state.calls == 0 || state.waiting.len() == self.most;
        state.calls += usize::from(begins);
        (begins, outcome)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes into the next call; none if nothing waits, and then nobody calls any more.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut state = self.state();
        // Who gave up waiting, because of a time limit for example, will dispatch again.
        state.waiting.retain(|waiting| !waiting.done.is_closed());
        let count = state.waiting.len().min(self.most);
        if count == 0 {
            state.calls = state.calls.saturating_sub(1);
            return None;
        }
        Some(state.waiting.drain(..count).collect())
    }
}

impl fmt::Debug for Gather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather").field("most", &self.most).finish_non_exhaustive()
    }
}

/// Makes the calls; when it panics, those who wait are told, and the next one begins anew.
struct Calling(Arc<Gather>);

impl Calling {
    async fn run(self) {
        while let Some(waiting) = self.0.next() {
            let (transactions, mut done): (Vec<_>, Vec<_>) =
                waiting.into_iter().map(|waiting| (waiting.transaction, waiting.done)).unzip();
            let given_up = async {
                for done in &mut done {
                    done.closed().await;
                }
            };
            // A call that nobody waits for any more ends, as one that is not gathered does at its time limit.
            let result = tokio::select! {
                biased;
                result = self.0.sink.dispatch(transactions) => Some(result),
                () = given_up => None,
            };
            if let Some(result) = result {
                tell(done, result);
            }
        }
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.0.state();
            state.calls = state.calls.saturating_sub(1);
            if state.calls == 0 {
                // Nobody is left to take what waits: those who wait are told.
                state.waiting.clear();
            }
        }
    }
}

/// Tells each what became of its own transaction.
fn tell(done: Vec<oneshot::Sender<Result<()>>>, result: Result<(), ConnectorError>) {
    let fates: Vec<bool> = match &result {
        Ok(()) => Vec::new(),
        Err(error) => (0..done.len()).map(|index| error.fate(index) == ItemOutcome::Done).collect(),
    };
    let error = result.err().map(TransactionError::from);
    for (index, done) in done.into_iter().enumerate() {
        let own = match &error {
            Some(error) if !fates.get(index).copied().unwrap_or_default() => Err(error.clone()),
            _ => Ok(()),
        };
        // Nobody waits for it any more.
        let _ = done.send(own);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::connector::{Connector, Sink};

    /// Writes down how many came in each call, and holds each call until it is let through.
    struct Gate {
        calls: Mutex<Vec<usize>>,
        through: Semaphore,
    }

    impl Connector for Gate {
        const KIND: &'static str = "gate";
    }

    impl Sink for Gate {
        async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
            self.calls.lock().unwrap().push(transactions.len());
            let _through = self.through.acquire().await;
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_whole_call_goes_beside_the_one_under_way() {
        let gate = Arc::new(Gate { calls: Mutex::default(), through: Semaphore::new(0) });
        let gather = Gather::new(Arc::clone(&gate) as Arc<dyn AnySink>, 2);
        let dispatches = (0..4).map(|n| {
            let gather = Arc::clone(&gather);
            tokio::spawn(
                async move { gather.begin(Transaction::new(n.to_string(), &n).unwrap()).await.unwrap() },
            )
        });
        let dispatches: Vec<_> = dispatches.collect();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let under_way = gate.calls.lock().unwrap().clone();
        assert!(under_way.len() > 1 && under_way.contains(&2), "{under_way:?} are under way at once");
        gate.through.add_permits(4);
        for dispatch in dispatches {
            dispatch.await.unwrap().unwrap();
        }
        assert_eq!(gate.calls.lock().unwrap().iter().sum::<usize>(), 4);
    }
}
