//! The observations of a script: settled ids, dispatched transactions and the numbers of calls, during a run or after
//! it.

use serde::de::DeserializeOwned;

use super::Script;
use crate::connector::Disposition;
use crate::transaction::Transaction;

impl Script {
    /// The dispositions of the deliveries by id, in the order of settling. A requeued delivery has one entry for each
    /// time. A settlement that did not arrive has no entry.
    ///
    /// The worker holds a delivery that is to be [retried later](Disposition::RetryAfter), so its entry appears at its
    /// end.
    ///
    /// ```
    /// use ergon::connector::{ConnectorError, FetchRequest};
    /// use ergon::prelude::*;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let input = ergon::testing::Script::new();
    /// input.push_json("a", &1);
    /// for disposition in [Disposition::Requeue, Disposition::Ack] {
    ///     let delivery = input.fetch(&FetchRequest::new(1)).await?.remove(0);
    ///     input.settle(vec![delivery.settle(disposition)]).await?;
    /// }
    /// let (first, last) = (("a".to_owned(), Disposition::Requeue), ("a".to_owned(), Disposition::Ack));
    /// assert_eq!(input.dispositions(), [first, last]);
    /// # Ok::<(), ConnectorError>(()) }).unwrap();
    /// ```
    pub fn dispositions(&self) -> Vec<(String, Disposition)> {
        self.state().settled.clone()
    }

    /// The ids of acknowledged deliveries, in the order of settling.
    ///
    /// ```
    /// use ergon::connector::{ConnectorError, FetchRequest};
    /// use ergon::prelude::*;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let input = ergon::testing::Script::new();
    /// input.push_json("a", &1);
    /// let delivery = input.fetch(&FetchRequest::new(1)).await?.remove(0);
    /// input.settle(vec![delivery.settle(Disposition::Ack)]).await?;
    /// assert_eq!(input.acked(), ["a"]);
    /// # Ok::<(), ConnectorError>(()) }).unwrap();
    /// ```
    pub fn acked(&self) -> Vec<String> {
        self.settled_as(Disposition::Ack)
    }

    /// The ids of rejected deliveries, in the order of settling. A transaction that a dead-letter connector accepted is
    /// acknowledged instead.
    ///
    /// ```
    /// use ergon::connector::{ConnectorError, FetchRequest};
    /// use ergon::prelude::*;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let input = ergon::testing::Script::new();
    /// input.push_json("a", &1);
    /// let delivery = input.fetch(&FetchRequest::new(1)).await?.remove(0);
    /// input.settle(vec![delivery.settle(Disposition::Reject)]).await?;
    /// assert_eq!(input.rejected(), ["a"]);
    /// # Ok::<(), ConnectorError>(()) }).unwrap();
    /// ```
    pub fn rejected(&self) -> Vec<String> {
        self.settled_as(Disposition::Reject)
    }

    /// The ids of transactions that can be fetched, the next one first.
    ///
    /// ```
    /// let input = ergon::testing::Script::new();
    /// input.push_json("a", &1);
    /// assert_eq!(input.waiting(), ["a"]);
    /// ```
    pub fn waiting(&self) -> Vec<String> {
        ids(&self.state().waiting)
    }

    /// The ids of unacknowledged deliveries, in the order of delivery.
    ///
    /// ```
    /// use ergon::connector::{ConnectorError, FetchRequest};
    /// use ergon::prelude::*;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let input = ergon::testing::Script::new();
    /// input.push_json("a", &1);
    /// let deliveries = input.fetch(&FetchRequest::new(1)).await?;
    /// assert_eq!(input.handed_out(), ["a"]);
    /// # Ok::<(), ConnectorError>(()) }).unwrap();
    /// ```
    pub fn handed_out(&self) -> Vec<String> {
        ids(self.state().out.values())
    }

    /// The number of fetches, including failed and empty ones.
    ///
    /// ```
    /// use ergon::connector::{ConnectorError, FetchRequest};
    /// use ergon::prelude::*;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let input = ergon::testing::Script::new();
    /// assert!(input.fetch(&FetchRequest::new(1)).await?.is_empty());
    /// assert_eq!(input.fetches(), 1);
    /// # Ok::<(), ConnectorError>(()) }).unwrap();
    /// ```
    pub fn fetches(&self) -> usize {
        self.state().fetches.made()
    }

    /// The number of calls of `settle`. One call may settle many deliveries.
    ///
    /// ```
    /// use ergon::connector::{ConnectorError, FetchRequest};
    /// use ergon::prelude::*;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let input = ergon::testing::Script::new();
    /// input.push_json("a", &1);
    /// input.push_json("b", &2);
    /// let both = input.fetch(&FetchRequest::new(2)).await?;
    /// input.settle(both.into_iter().map(|one| one.settle(Disposition::Ack)).collect()).await?;
    /// assert_eq!(input.settles(), 1);
    /// # Ok::<(), ConnectorError>(()) }).unwrap();
    /// ```
    pub fn settles(&self) -> usize {
        self.state().settles.made()
    }

    /// The number of dispatches, including failed ones. One dispatch may have many transactions.
    ///
    /// ```
    /// use ergon::prelude::*;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let output = ergon::testing::Script::new();
    /// output.dispatch(vec![Transaction::new("a", &1)?]).await?;
    /// assert_eq!(output.dispatches(), 1);
    /// # Ok::<(), TransactionError>(()) }).unwrap();
    /// ```
    pub fn dispatches(&self) -> usize {
        self.state().dispatches.made()
    }

    /// The dispatched transactions that arrived, in order, with id, parent and metadata. A transaction that was
    /// dispatched twice appears twice.
    ///
    /// `second.extend(first.dispatched())` makes them the input of a second task. The metadata of a dead letter has the
    /// reason and the number of attempts, under the names in [`key`](crate::transaction::key).
    ///
    /// ```
    /// use ergon::prelude::*;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let output = ergon::testing::Script::new();
    /// output.dispatch(vec![Transaction::new("a", &1)?]).await?;
    /// assert_eq!(output.dispatched()[0].id(), "a");
    /// # Ok::<(), TransactionError>(()) }).unwrap();
    /// ```
    pub fn dispatched(&self) -> Vec<Transaction> {
        self.state().dispatched.clone()
    }

    /// The payloads of the dispatched transactions that arrived, in order.
    ///
    /// # Panics
    /// If a payload does not decode.
    ///
    /// ```
    /// use ergon::prelude::*;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let output = ergon::testing::Script::new();
    /// output.dispatch(vec![Transaction::new("a", &1)?]).await?;
    /// assert_eq!(output.dispatched_as::<u32>(), [1]);
    /// # Ok::<(), TransactionError>(()) }).unwrap();
    /// ```
    #[track_caller]
    #[expect(clippy::panic, reason = "a test fails by panicking")]
    pub fn dispatched_as<T: DeserializeOwned>(&self) -> Vec<T> {
        let mut payloads = Vec::new();
        for transaction in self.dispatched() {
            match transaction.decode() {
                Ok(payload) => payloads.push(payload),
                Err(error) => panic!("`{}` was dispatched, but: {error}", transaction.id()),
            }
        }
        payloads
    }

    /// The number of planned faults that have not happened. A test whose fault never happens proves nothing, so assert
    /// that this is 0.
    ///
    /// ```
    /// use ergon::testing::{Fault, Script};
    ///
    /// let input = Script::new();
    /// input.on_settle(2, Fault::Lost);
    /// assert_eq!(input.faults_left(), 1);
    /// ```
    pub fn faults_left(&self) -> usize {
        let state = self.state();
        state.fetches.faults_left() + state.settles.faults_left() + state.dispatches.faults_left()
    }

    fn settled_as(&self, wanted: Disposition) -> Vec<String> {
        let state = self.state();
        let those = state.settled.iter().filter(|(_, disposition)| *disposition == wanted);
        those.map(|(id, _)| id.clone()).collect()
    }
}

fn ids<'a>(transactions: impl IntoIterator<Item = &'a Transaction>) -> Vec<String> {
    transactions.into_iter().map(|transaction| transaction.id().to_owned()).collect()
}
