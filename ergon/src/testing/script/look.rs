//! What a test looks at when a task has run, or while it runs.

use serde::de::DeserializeOwned;

use super::Script;
use crate::connector::Disposition;
use crate::transaction::Transaction;

impl Script {
    /// What became of the deliveries, by id, in the order of settling; one that came back stands here once for each
    /// time. A settlement that did not arrive is not among them.
    ///
    /// A delivery that is [tried again later](Disposition::RetryAfter) is held by the worker: it stands here when that
    /// came to an end.
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

    /// The ids of those that were acked, in the order of settling.
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

    /// The ids of those that were rejected, in the order of settling. What a dead-letter connector took is acked.
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

    /// The ids of those that can be fetched, the next one first.
    ///
    /// ```
    /// let input = ergon::testing::Script::new();
    /// input.push_json("a", &1);
    /// assert_eq!(input.waiting(), ["a"]);
    /// ```
    pub fn waiting(&self) -> Vec<String> {
        ids(&self.state().waiting)
    }

    /// The ids of those that are handed out and not settled, in the order in which they were handed out.
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

    /// How many fetches were made, those that failed and those that brought nothing included.
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

    /// How many settles were made; one may tell of many deliveries.
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

    /// How many dispatches were made, those that failed included; one may bring many transactions.
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

    /// What was dispatched and arrived, in order, with id, parent and metadata; twice what was dispatched twice.
    ///
    /// A second task takes it as its input with `second.extend(first.dispatched())`. A dead letter tells in its metadata
    /// why it is one, and after how many attempts: [`key`](crate::transaction::key) names the entries.
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

    /// The payloads of what was dispatched and arrived, in order.
    ///
    /// # Panics
    /// If one does not decode.
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

    /// How many of the faults did not happen yet: a test whose fault never comes proves nothing.
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
