//! The world of a simulated run: a clock, chance, the log, and the records of the source.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ergon::connector::Disposition;
use fastrand::Rng;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::event::{Entry, Event};
use super::plan::{Plan, millis};

/// A run with this many events is an endless loop. Its calls then hang, so that the virtual time limit reports the run.
const TOO_MANY: usize = 200_000;

/// The world of one run; cloning it is cheap.
#[derive(Clone)]
pub(super) struct World {
    /// The plan that was drawn before the run.
    pub(super) plan: Arc<Plan>,
    state: Arc<Mutex<State>>,
    /// Notifies that a transaction can be fetched again.
    pub(super) arrived: Arc<Notify>,
    began: Instant,
}

/// The state that changes during the run.
pub(super) struct State {
    pub(super) rng: Rng,
    /// Faults that may still be injected.
    faults_left: u32,
    pub(super) faults: u64,
    pub(super) log: Vec<Entry>,
    /// The transactions that can be fetched, now or later, in order.
    pub(super) waiting: VecDeque<Waiting>,
    /// The unsettled deliveries, by the number on the receipt.
    pub(super) out: HashMap<u64, HandedOut>,
    pub(super) last_delivery: u64,
}

/// A transaction in the source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) transaction: usize,
    /// The number of earlier deliveries.
    pub(super) deliveries: u32,
    pub(super) from: Instant,
    /// The transaction arrived or returned without an action of the engine, so the engine need not know of it.
    pub(super) by_itself: bool,
}

/// A delivery that is not settled.
#[derive(Debug, Clone, Copy)]
pub(super) struct HandedOut {
    pub(super) transaction: usize,
    pub(super) deliveries: u32,
    pub(super) epoch: u64,
}

impl World {
    /// Makes the world of a plan. `seed` decides everything that happens in it.
    ///
    /// Must be called within the run's runtime: its clock starts here.
    pub(super) fn new(plan: Plan, seed: u64) -> Self {
        let began = Instant::now();
        let waiting = plan.transactions.iter().enumerate().map(|(transaction, planned)| Waiting {
            transaction,
            deliveries: 0,
            from: began + planned.arrives,
            by_itself: !planned.arrives.is_zero(),
        });
        let state = State {
            rng: Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1)),
            faults_left: plan.rates.faults,
            faults: 0,
            log: Vec::with_capacity(256),
            waiting: waiting.collect(),
            out: HashMap::new(),
            last_delivery: 0,
        };
        let state = Arc::new(Mutex::new(state));
        Self { plan: Arc::new(plan), state, arrived: Arc::default(), began }
    }

    /// Records an event.
    pub(super) fn log(&self, event: Event) {
        let at = self.now();
        let mut state = self.state();
        if state.log.len() < TOO_MANY {
            state.log.push(Entry { at, event });
        }
    }

    /// The events so far.
    pub(super) fn events(&self) -> Vec<Entry> {
        self.state().log.clone()
    }

    /// The number of injected faults so far.
    pub(super) fn faults(&self) -> u64 {
        self.state().faults
    }

    /// The number of transactions that the engine must fetch before it may treat the source as empty.
    pub(super) fn left(&self) -> usize {
        let now = Instant::now();
        self.state().waiting.iter().filter(|waiting| !waiting.by_itself && waiting.from <= now).count()
    }

    /// Whether the run is an endless loop.
    pub(super) fn too_much(&self) -> bool {
        self.state().log.len() >= TOO_MANY
    }

    /// Decides whether a fault with this rate, in percent, occurs now, and records it.
    pub(super) fn fault(&self, rate: u8, what: &'static str) -> bool {
        let mut state = self.state();
        let happens = rate > 0 && state.faults_left > 0 && state.rng.u8(..100) < rate;
        if happens {
            state.faults_left -= 1;
            state.faults += 1;
        }
        drop(state);
        if happens {
            self.log(Event::Fault(what));
        }
        happens
    }

    /// Delays a slow connector.
    pub(super) async fn dawdle(&self) {
        if self.fault(self.plan.rates.slow_link, "the link is slow") {
            let wait = millis(&mut self.state().rng, 800);
            tokio::time::sleep(wait).await;
        }
    }

    /// Draws a number below `end`.
    pub(super) fn draw(&self, end: u8) -> u8 {
        self.state().rng.u8(..end)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl State {
    /// Returns a delivery to the source after a settlement with `disposition`; if it is not `applied`, as an unsettled
    /// delivery.
    pub(super) fn redrive(
        &mut self,
        delivery: HandedOut,
        disposition: Disposition,
        applied: bool,
        told: bool,
    ) {
        let (wait, by_itself) = match disposition {
            _ if !applied => (millis(&mut self.rng, 3_000), true),
            Disposition::Ack | Disposition::Reject => return,
            Disposition::Requeue => (Duration::ZERO, !told),
            Disposition::RetryAfter(wait) => (wait, true),
        };
        let HandedOut { transaction, deliveries, .. } = delivery;
        let waiting = Waiting { transaction, deliveries, from: Instant::now() + wait, by_itself };
        if self.rng.bool() {
            self.waiting.push_front(waiting);
        } else {
            self.waiting.push_back(waiting);
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("plan", &self.plan).finish_non_exhaustive()
    }
}
