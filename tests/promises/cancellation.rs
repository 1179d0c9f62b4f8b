//! Tests that a handler can be cancelled at each of its `.await`s without losing a slot, a delivery or an outcome.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use ergon::connector::memory::MemoryQueue;
use ergon::policy::{OnHandlerFailure, RetryPolicy};
use ergon::prelude::*;
use ergon::run_fn;
use ergon::service::{Service, ServiceConfig, ServiceError};
use ergon::telemetry::Ended;
use ergon::transaction::Payload;
use ergon_tests::World;
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex as Lock, Notify, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
/// The number of handlers that run at the same time.
const AT_ONCE: usize = 3;

/// The resources that handlers wait for, each of another kind. All are free again when no handler runs.
struct Shared {
    semaphore: Semaphore,
    lock: Lock<u32>,
    notify: Arc<Notify>,
    /// Handlers that were started and not dropped.
    alive: AtomicUsize,
    /// The number of quick handlers that run, and its maximum.
    quick: AtomicUsize,
    most: AtomicUsize,
    /// For each handler that was dropped unfinished, the number of its `.await`.
    cut_at: Mutex<Vec<usize>>,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            semaphore: Semaphore::new(AT_ONCE),
            lock: Lock::new(0),
            notify: Arc::new(Notify::new()),
            alive: AtomicUsize::new(0),
            quick: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            cut_at: Mutex::default(),
        })
    }

    /// A handler with an `.await` of every kind, which counts the `.await`s that it has reached.
    async fn handle(self: Arc<Self>, awaits: Arc<AtomicUsize>) -> Result<()> {
        let come_to = || awaits.fetch_add(1, Ordering::SeqCst);
        come_to();
        sleep(SECOND).await;
        come_to();
        let permit = self.semaphore.acquire().await.unwrap();
        come_to();
        sleep(SECOND).await;
        drop(permit);
        let (sender, receiver) = oneshot::channel();
        later(move || sender.send(()));
        come_to();
        receiver.await.unwrap();
        let (sender, mut items) = mpsc::channel(2);
        let again = sender.clone();
        later(move || sender.try_send(1));
        come_to();
        items.recv().await;
        later(move || again.try_send(2));
        come_to();
        items.recv().await;
        let notify = Arc::clone(&self.notify);
        later(move || notify.notify_waiters());
        come_to();
        self.notify.notified().await;
        come_to();
        let _ = tokio::join!(sleep(SECOND), sleep(2 * SECOND));
        come_to();
        tokio::select! { () = sleep(SECOND) => (), () = sleep(9 * SECOND) => () }
        come_to();
        assert!(tokio::time::timeout(SECOND, std::future::pending::<()>()).await.is_err());
        come_to();
        tokio::spawn(sleep(SECOND)).await.unwrap();
        come_to();
        let count = run_fn(&RetryPolicy::DEFAULT, "count", || async {
            *self.lock.lock().await += 1;
            sleep(SECOND).await;
            Ok(())
        });
        count.await?;
        come_to();
        sleep(SECOND).await;
        Ok(())
    }

    /// A handler that ends before any limit.
    async fn quick(self: Arc<Self>) -> Result<()> {
        self.most.fetch_max(self.quick.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        sleep(10 * MILLI).await;
        self.quick.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }

    /// The long handler, watched.
    fn watched(self: &Arc<Self>) -> Watched {
        self.alive.fetch_add(1, Ordering::SeqCst);
        let awaits = Arc::default();
        let handler = Box::pin(Arc::clone(self).handle(Arc::clone(&awaits)));
        Watched { shared: Arc::clone(self), handler, awaits, ended: false }
    }

    /// No cancelled handler still holds a resource.
    async fn is_free(&self) {
        // The work that handlers spawned ends by itself.
        sleep(10 * SECOND).await;
        assert_eq!(self.alive.load(Ordering::SeqCst), 0);
        assert_eq!(self.semaphore.available_permits(), AT_ONCE);
        assert!(self.lock.try_lock().is_ok());
    }
}

/// Calls a function after a second.
fn later<T>(what: impl FnOnce() -> T + Send + 'static) {
    tokio::spawn(async move {
        sleep(SECOND).await;
        let _ = what();
    });
}

/// A handler that records its `.await` when it is dropped unfinished.
struct Watched {
    shared: Arc<Shared>,
    handler: BoxFuture<'static, Result<()>>,
    awaits: Arc<AtomicUsize>,
    ended: bool,
}

impl Future for Watched {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let polled = self.handler.as_mut().poll(context);
        self.ended = polled.is_ready();
        polled
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shared.alive.fetch_sub(1, Ordering::SeqCst);
        if !self.ended {
            self.shared.cut_at.lock().unwrap().push(self.awaits.load(Ordering::SeqCst));
        }
    }
}

/// A time between two polls of the handler, and the `.await` at that time.
#[derive(Debug, Clone, Copy)]
struct Moment {
    poll: usize,
    after: Duration,
    at: usize,
}

/// One time between each two polls of the handler, found by running the handler once, alone.
async fn moments() -> Vec<Moment> {
    let mut watched = Shared::new().watched();
    let (began, awaits, mut moments) = (Instant::now(), Arc::clone(&watched.awaits), Vec::new());
    let whole = std::future::poll_fn(|context| {
        let polled = Pin::new(&mut watched).poll(context);
        let (after, at) = (began.elapsed(), awaits.load(Ordering::SeqCst));
        moments.push(Moment { poll: moments.len() + 1, after, at });
        polled
    });
    whole.await.unwrap();
    let between: Vec<_> = moments
        .windows(2)
        .map(|pair| Moment { after: (pair[0].after + pair[1].after) / 2, ..pair[0] })
        .collect();
    assert!(between.len() >= 12 && between.iter().zip(&moments).all(|(now, poll)| now.after > poll.after));
    between
}

/// The handler of the three that takes a long time.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Which {
    Process,
    Success,
    Exception,
}

const EACH: [Which; 3] = [Which::Process, Which::Success, Which::Exception];

/// Three transactions that take a long time in one handler at their first delivery. Other transactions are quick.
fn world(which: Which, shared: &Arc<Shared>) -> World {
    let of = Arc::clone(shared);
    let handler = move |transaction: &Transaction| -> BoxFuture<'static, Result<()>> {
        if transaction.id().len() == 1 && transaction.deliveries() == 1 {
            Box::pin(of.watched())
        } else {
            Box::pin(Arc::clone(&of).quick())
        }
    };
    let world = World::with(AT_ONCE);
    let world = match which {
        Which::Process => world.process(move |transaction| handler(&transaction)),
        Which::Success => world.success(move |transaction| handler(&transaction)),
        Which::Exception => world
            .process(|transaction| async move {
                match transaction.id().len() {
                    1 => Err(TransactionError::business("no")),
                    _ => Ok(()),
                }
            })
            .exception(move |(transaction, _)| {
                let whole = handler(&transaction);
                async move { whole.await.map(|()| Disposition::Reject) }
            }),
    };
    world.policy(|policy| {
        policy.concurrency = AT_ONCE;
        policy.batch_size = AT_ONCE;
        policy.transaction_timeout = None;
        policy.on_handler_failure = OnHandlerFailure::Reject;
    })
}

/// Waits for the end of a run, for at most an hour of the paused clock.
fn end<T>(run: impl Future<Output = T>) -> impl Future<Output = T> {
    let run = Box::pin(run);
    async { tokio::time::timeout(3600 * SECOND, run).await.expect("the run ends") }
}

/// Asserts that each handler was cancelled at this `.await` and left nothing behind.
async fn was_cut_at(shared: &Shared, at: usize, how: &str) {
    assert_eq!(*shared.cut_at.lock().unwrap(), [at; AT_ONCE], "{how}");
    shared.is_free().await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_can_be_cancelled_at_each_of_its_polls_by_a_limit() {
    for Moment { poll, after: limit, at } in moments().await {
        for (which, of_step) in EACH.into_iter().flat_map(|which| [(which, false), (which, true)]) {
            let shared = Shared::new();
            let world = world(which, &shared).policy(|policy| match (which, of_step) {
                (Which::Process, true) => policy.process.timeout = Some(limit),
                (Which::Success, true) => policy.success.timeout = Some(limit),
                (Which::Exception, _) => policy.exception.timeout = Some(limit),
                (_, false) => policy.transaction_timeout = Some(limit),
            });
            world.push((10..10 + 3 * AT_ONCE).map(|n| n.to_string()));
            let report = end(world.run()).await;
            let how = format!("{which:?} after poll {poll}, by its step's own limit: {of_step}");
            was_cut_at(&shared, at, &how).await;
            let tally = report.tally;
            let failures = if which == Which::Exception { AT_ONCE as u64 } else { 0 };
            assert_eq!((tally.rejected, tally.handler_failures), (AT_ONCE as u64, failures), "{how}");
            assert_eq!(tally.failed.timeout, AT_ONCE as u64 - failures, "{how}");
            assert_eq!(tally.succeeded, 3 * AT_ONCE as u64, "{how}");
            if which != Which::Exception {
                assert_eq!(shared.most.load(Ordering::SeqCst), AT_ONCE, "{how}: those that follow");
            }
            let queue = world.input.queue.inspect();
            assert_eq!((queue.handed_out, queue.waiting, queue.dead_letters.len()), (0, 0, AT_ONCE), "{how}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_can_be_cancelled_at_each_of_its_polls_by_a_stop() {
    for Moment { poll, after, at } in moments().await {
        for which in EACH {
            let shared = Shared::new();
            let world = world(which, &shared).policy(|policy| policy.shutdown_grace = Duration::ZERO);
            let running = world.start().await;
            sleep(after).await;
            running.stop();
            let report = end(running.wait()).await.unwrap();
            let how = format!("{which:?} after poll {poll}");
            was_cut_at(&shared, at, &how).await;
            assert!(matches!(report.ended, Ended::Stopped { given_back: 3 }), "{how}: {:?}", report.ended);
            assert_eq!((report.tally.processed, report.tally.given_back), (0, 3), "{how}");
            let queue = world.input.queue.inspect();
            assert_eq!((queue.handed_out, queue.waiting, queue.acked), (0, 3, 0), "{how}");
            // The next run processes them, as many at the same time.
            let report = end(world.run()).await;
            assert_eq!(report.tally.processed, AT_ONCE as u64, "{how}");
            assert_eq!(shared.most.load(Ordering::SeqCst), AT_ONCE, "{how}: in the next run");
            assert_eq!(world.input.queue.inspect().handed_out, 0, "{how}");
        }
    }
}

/// Loops that are dropped before their end, and a loop that is not.
#[ergon::task(connectors(input), services(dropping: Dropping), consumer(concurrency = 3, batch_size = 3), execute)]
struct Drops;

#[derive(Clone)]
struct Dropping {
    shared: Arc<Shared>,
    queue: Arc<MemoryQueue>,
    after: Duration,
    /// The number of deliveries that the dropped loop has fetched.
    fetched: usize,
}

impl fmt::Debug for Dropping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dropping")
    }
}

impl Service for Dropping {}

impl ServiceConfig for Dropping {
    type Service = Self;

    fn build(&self) -> Result<Self, ServiceError> {
        Ok(self.clone())
    }
}

impl Consumer for Drops {
    type Payload = Payload;
    type Output = ();

    async fn process_transaction(&self, transaction: &Transaction<Payload>) -> Result<()> {
        let shared = &self.dropping_service.shared;
        if transaction.id().len() == 1 && transaction.deliveries() == 1 {
            shared.watched().await
        } else {
            Arc::clone(shared).quick().await
        }
    }
}

impl Execute for Drops {
    async fn execute(&self, run: &Run) -> Result<()> {
        let Dropping { queue, after, fetched, .. } = &*self.dropping_service;
        assert!(tokio::time::timeout(*after, run.consume(self, &self.consumer_policy)).await.is_err());
        assert_eq!(queue.inspect().handed_out, *fetched);
        // The deliveries of the dropped loop return when this loop settles.
        let others = (10..10 + 3 * AT_ONCE).map(|n| Transaction::new(n.to_string(), &n));
        queue.extend(others.collect::<Result<Vec<_>>>()?);
        run.consume(self, &self.consumer_policy).await?;
        assert_eq!(queue.inspect().handed_out, 0);
        run.consume(self, &self.consumer_policy).await.map(drop)
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_can_be_dropped_at_each_poll_of_a_handler() {
    for Moment { poll, after, at } in moments().await {
        let (shared, world) = (Shared::new(), World::with(AT_ONCE));
        let queue = Arc::clone(&world.input.queue);
        let dropping = Dropping { shared: Arc::clone(&shared), queue, after, fetched: AT_ONCE };
        let config = Drops::config(DropsWiring { input: world.input.clone(), dropping });
        let report = end(ergon::testing::run(config)).await.unwrap();
        assert!(matches!(report.ended, Ended::Finished), "after poll {poll}: {:?}", report.ended);
        was_cut_at(&shared, at, &format!("after poll {poll}")).await;
        assert_eq!(shared.most.load(Ordering::SeqCst), AT_ONCE);
        let queue = world.input.queue.inspect();
        assert_eq!((queue.acked, queue.waiting, queue.handed_out), (4 * AT_ONCE as u64, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_is_dropped_gives_back_what_it_fetched_ahead() {
    const AHEAD: usize = 2;
    let (shared, fetched) = (Shared::new(), AT_ONCE + AHEAD);
    let world = World::with(fetched);
    let queue = Arc::clone(&world.input.queue);
    let dropping = Dropping { shared, queue, after: SECOND / 2, fetched };
    let config = Drops::config(DropsWiring { input: world.input.clone(), dropping });
    let config = config.consumer(|policy| (policy.batch_size, policy.prefetch) = (fetched, AHEAD));
    end(ergon::testing::run(config)).await.unwrap();
    let queue = world.input.queue.inspect();
    assert_eq!((queue.acked, queue.waiting, queue.handed_out), ((fetched + 3 * AT_ONCE) as u64, 0, 0));
}
