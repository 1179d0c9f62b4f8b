//! Cancels the processing of a delivery whose lease is lost.
//!
//! The [keeper](crate::connector::kit::Leases) of the source extends leases and reports those that are lost. A lane
//! asks the keeper only while its transaction waits. Without leases, the cost is one read of an empty field.

use std::task::{Context, Poll};

use crate::connector::Receipt;
use crate::connector::kit::Lease;

/// The lease of the delivery that a lane processes; empty if its source has no leases.
#[derive(Clone, Copy)]
pub(super) struct Leased<'a>(Option<&'a Lease>);

impl<'a> Leased<'a> {
    pub(super) fn by(receipt: Option<&'a Receipt>) -> Self {
        Self(receipt.and_then(Lease::of))
    }

    /// Whether the lease is lost. The source delivers such a delivery again, so it must not be processed.
    pub(super) fn is_lost(self) -> bool {
        self.0.is_some_and(Lease::is_lost)
    }

    /// Ready when the lease is lost. Until then, the lane's waker is registered.
    pub(super) fn poll_lost(self, context: &Context<'_>) -> Poll<()> {
        self.0.map_or(Poll::Pending, |lease| lease.poll_lost(context.waker()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use crate::connector::kit::{Extend, Leases};
    use crate::connector::prelude::*;
    use crate::prelude::*;
    use crate::service::{Service, ServiceConfig, ServiceError};
    use crate::testing;

    const LENGTH: Duration = Duration::from_secs(30);

    /// A queue that delivers a message again when its lease has ended.
    #[derive(Default)]
    struct Side {
        messages: Mutex<VecDeque<Message>>,
        /// The settlement of each message.
        settled: Mutex<Vec<(u32, &'static str)>>,
        /// The number of calls that extended leases.
        calls: AtomicU32,
        refuses_to_extend: OnceLock<()>,
    }

    struct Message {
        number: u32,
        visible: Instant,
        deliveries: u32,
    }

    impl Side {
        fn with(messages: u32) -> Arc<Self> {
            let side = Arc::new(Self::default());
            let message = |number| Message { number, visible: Instant::now(), deliveries: 0 };
            side.messages().extend((0..messages).map(message));
            side
        }

        fn messages(&self) -> MutexGuard<'_, VecDeque<Message>> {
            self.messages.lock().unwrap()
        }

        fn settled(&self) -> Vec<(u32, &'static str)> {
            self.settled.lock().unwrap().clone()
        }

        /// Ends all leases, so that the messages are delivered again.
        fn takes_back(&self) {
            self.messages().iter_mut().for_each(|message| message.visible = Instant::now());
        }

        /// The message, if this delivery of it is the latest, and its lease has not ended.
        fn leased<T>(
            &self,
            (number, delivery): (u32, u32),
            then: impl FnOnce(&mut Message) -> T,
        ) -> Option<T> {
            let mut messages = self.messages();
            let message = messages.iter_mut().find(|message| message.number == number)?;
            (message.deliveries == delivery && message.visible > Instant::now()).then(|| then(message))
        }
    }

    /// The number of a message, and the number of its delivery.
    type Token = (u32, u32);

    struct Client(Arc<Side>);

    impl Extend<Token> for Client {
        async fn extend(&self, tokens: Vec<Token>) -> Result<Vec<usize>, ConnectorError> {
            self.0.calls.fetch_add(1, Ordering::SeqCst);
            if self.0.refuses_to_extend.get().is_some() {
                return Err(ConnectorError::transient("the link is down"));
            }
            let extended = |token| self.0.leased(token, |message| message.visible = Instant::now() + LENGTH);
            let lost = tokens.into_iter().enumerate().filter(|(_, token)| extended(*token).is_none());
            Ok(lost.map(|(index, _)| index).collect())
        }
    }

    #[derive(Clone)]
    struct LeasedConfig(Arc<Side>);

    struct LeasedQueue {
        side: Arc<Side>,
        leases: OnceLock<Leases<Token>>,
    }

    impl ConnectorConfig for LeasedConfig {
        type Connector = LeasedQueue;

        fn build(&self, _: &Context) -> Result<LeasedQueue, ConnectorError> {
            Ok(LeasedQueue { side: Arc::clone(&self.0), leases: OnceLock::new() })
        }
    }

    impl LeasedQueue {
        fn leases(&self) -> &Leases<Token> {
            let client = || Client(Arc::clone(&self.side));
            self.leases.get_or_init(|| Leases::start("task.input", LENGTH, client()))
        }
    }

    impl Connector for LeasedQueue {
        const KIND: &'static str = "leased";

        async fn close(&self) -> Result<(), ConnectorError> {
            for token in self.leases().close() {
                self.side.leased(token, |message| message.visible = Instant::now());
            }
            Ok(())
        }
    }

    impl Source for LeasedQueue {
        const HAS_DEAD_LETTERS: bool = true;

        async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
            let since = Instant::now();
            let mut messages = self.side.messages();
            let visible = messages.iter_mut().filter(|message| message.visible <= since).take(request.max());
            let deliveries = visible.map(|message| {
                (message.visible, message.deliveries) = (since + LENGTH, message.deliveries + 1);
                let Message { number, deliveries, .. } = *message;
                let transaction = Transaction::new(format!("m-{number}"), &number).unwrap();
                let receipt = self.leases().hold((number, deliveries), since);
                Delivery::new(transaction.with_deliveries(deliveries), receipt)
            });
            Ok(deliveries.collect())
        }

        async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
            let mut failed = Vec::new();
            for (index, settlement) in settlements.iter().enumerate() {
                let disposition = settlement.disposition();
                let settled = self.leases().release(settlement.receipt()).and_then(|(number, delivery)| {
                    let gives_back = disposition == Disposition::Requeue;
                    let visible = |message: &mut Message| message.visible = Instant::now();
                    let held = self.side.leased((number, delivery), visible);
                    held.ok_or_else(|| ConnectorError::unknown("it was handed out again"))?;
                    if !gives_back {
                        self.side.messages().retain(|message| message.number != number);
                    }
                    self.side.settled.lock().unwrap().push((number, disposition.as_str()));
                    Ok(())
                });
                failed.extend(settled.err().map(|error| (index, error)));
            }
            if failed.is_empty() { Ok(()) } else { Err(ConnectorError::partial(failed)) }
        }
    }

    /// The durations of the handler's runs, and what it has done.
    #[derive(Clone, Default)]
    struct Work(Arc<Mutex<Done>>);

    #[derive(Default)]
    struct Done {
        takes: VecDeque<Duration>,
        retries_after: Option<Duration>,
        begun: Vec<u32>,
        ended: Vec<u32>,
    }

    impl Service for Work {}

    impl ServiceConfig for Work {
        type Service = Self;

        fn build(&self) -> Result<Self, ServiceError> {
            Ok(self.clone())
        }
    }

    impl Work {
        fn taking(takes: impl IntoIterator<Item = u64>) -> Self {
            let takes = takes.into_iter().map(Duration::from_secs).collect();
            Self(Arc::new(Mutex::new(Done { takes, ..Done::default() })))
        }

        fn done(&self) -> MutexGuard<'_, Done> {
            self.0.lock().unwrap()
        }
    }

    #[crate::task(
        connectors(input),
        services(work: Work),
        consumer(concurrency = 1, prefetch = 4, batch_size = 8, transaction_timeout = "1h"),
    )]
    struct Slow;

    impl Consumer for Slow {
        type Payload = u32;
        type Output = ();

        async fn process_transaction(&self, message: &Transaction<u32>) -> Result<()> {
            let work = &self.work_service;
            work.done().begun.push(*message.payload());
            let takes = work.done().takes.pop_front().unwrap_or_default();
            sleep(takes).await;
            work.done().ended.push(*message.payload());
            match work.done().retries_after {
                Some(_) => Err(TransactionError::system("not now")),
                None => Ok(()),
            }
        }

        async fn handle_process_exception(
            &self,
            _: &Transaction,
            _: &TransactionError,
        ) -> Result<Disposition> {
            let after = self.work_service.done().retries_after.take();
            Ok(after.map_or(Disposition::Reject, Disposition::RetryAfter))
        }
    }

    fn slow(side: &Arc<Side>, work: &Work) -> TaskConfig {
        Slow::config(SlowWiring { input: LeasedConfig(Arc::clone(side)), work: work.clone() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_of_ten_minutes_with_a_lease_of_thirty_seconds_runs_once() {
        let (side, work) = (Side::with(1), Work::taking([600]));
        let report = testing::run(slow(&side, &work)).await.unwrap();
        assert_eq!((report.tally.succeeded, report.tally.unknown), (1, 0));
        assert_eq!((work.done().begun.as_slice(), side.settled()), ([0].as_slice(), vec![(0, "ack")]));
        assert!((55..=65).contains(&side.calls.load(Ordering::SeqCst)), "it is extended at a third");
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_a_lane_keeps_its_lease() {
        let (side, work) = (Side::with(5), Work::taking([120; 5]));
        let report = testing::run(slow(&side, &work)).await.unwrap();
        assert_eq!((report.tally.succeeded, report.tally.unknown), (5, 0));
        assert_eq!(work.done().begun, [0, 1, 2, 3, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_its_retry_keeps_its_lease() {
        let (side, work) = (Side::with(1), Work::taking([]));
        work.done().retries_after = Some(Duration::from_secs(600));
        let report = testing::run(slow(&side, &work)).await.unwrap();
        assert_eq!((report.tally.succeeded, report.tally.unknown), (1, 0));
        assert_eq!((work.done().begun.len(), side.settled()), (2, vec![(0, "ack")]));
        assert!(report.elapsed >= Duration::from_secs(600));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_lease_cancels_the_handler_and_settles_nothing() {
        let (side, work) = (Side::with(1), Work::taking([600, 1]));
        let running = testing::start(slow(&side, &work)).await.unwrap();
        sleep(Duration::from_secs(100)).await;
        side.takes_back();
        let report = running.wait().await.unwrap();
        // The first handler was cancelled. The second delivery was processed and settled.
        assert_eq!((report.tally.succeeded, report.tally.unknown), (1, 1));
        assert!(report.elapsed < Duration::from_secs(200), "{:?}", report.elapsed);
        let done = work.done();
        assert_eq!((done.begun.as_slice(), done.ended.as_slice()), ([0, 0].as_slice(), [0].as_slice()));
        assert_eq!(side.settled(), [(0, "ack")]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_lost_its_lease_before_its_turn_is_not_processed() {
        let (side, work) = (Side::with(2), Work::taking([20, 5, 5]));
        let running = testing::start(slow(&side, &work)).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        // Only the lease of the message that waits.
        side.messages()[1].visible = Instant::now();
        let report = running.wait().await.unwrap();
        assert_eq!((report.tally.succeeded, report.tally.unknown), (2, 1));
        assert_eq!(work.done().ended, [0, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn leases_that_cannot_be_extended_are_lost_at_their_end() {
        let (side, work) = (Side::with(1), Work::taking([600, 600, 600]));
        side.refuses_to_extend.set(()).unwrap();
        let running = testing::start(slow(&side, &work)).await.unwrap();
        sleep(LENGTH + Duration::from_secs(1)).await;
        assert_eq!((work.done().ended.len(), running.tally().unknown), (0, 1));
        running.stop();
        running.wait().await.unwrap();
        assert!(side.settled().is_empty() || side.settled() == [(0, "requeue")]);
    }
}
