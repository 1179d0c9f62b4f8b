//! Draws the plan of a run from a seed: the transactions, the policy, and the rates of the faults.

use std::time::Duration;

use ergon::policy::RetryPolicy;
use ergon::policy::{ConsumerPolicy, Mode, OnHandlerFailure};
use fastrand::Rng;

/// Everything that is drawn before a run starts.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The transactions in the source, in order.
    pub transactions: Vec<Planned>,
    /// The task's policy.
    pub policy: ConsumerPolicy,
    /// The time at which the run is stopped.
    pub stop: Option<Duration>,
    /// Whether the source waits for data by itself if the engine lets it.
    pub push: bool,
    /// The rates of the faults.
    pub rates: Rates,
}

/// A transaction in the source.
#[derive(Debug, Clone, Copy)]
pub struct Planned {
    /// Its id; some have the same.
    pub id: usize,
    /// The time from which the transaction can be fetched.
    pub arrives: Duration,
    /// Whether its payload is of the task's type.
    pub decodes: bool,
}

/// The rates of the faults, in percent. Most runs have only some of these faults.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    /// The maximum number of connector faults, so that every run can end.
    pub faults: u32,
    /// A fetch fails, once or permanently, or hangs.
    pub fetch: u8,
    /// A settle fails, as a whole or in part, applied or not, panics or hangs.
    pub settle: u8,
    /// A dispatch to the output fails or hangs.
    pub dispatch: u8,
    /// A dispatch to the dead-letter connector fails or hangs.
    pub letter: u8,
    /// A connector is slow.
    pub slow_link: u8,
    /// A handler returns an error.
    pub handler_fails: u8,
    /// A handler panics.
    pub handler_panics: u8,
    /// A handler is slow, and may exceed its time limit.
    pub handler_slow: u8,
}

impl Plan {
    /// Draws the plan of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let policy = draw_policy(&mut rng);
        let stops = policy.streaming || rng.u8(..10) < 3;
        let stop = stops.then(|| millis(&mut rng, 12_000));
        let transactions = draw_transactions(&mut rng, stop.is_some());
        Self { transactions, policy, stop, push: rng.bool(), rates: draw_rates(&mut rng) }
    }

    /// Makes a plan of this many transactions, with a generous policy and without faults.
    pub fn plain(transactions: usize) -> Self {
        let planned = |id| Planned { id, arrives: Duration::ZERO, decodes: true };
        let transactions = (0..transactions).map(planned).collect();
        let policy = ConsumerPolicy { concurrency: 8, batch_size: 8, ..ConsumerPolicy::DEFAULT };
        Self { transactions, policy, stop: None, push: false, rates: Rates::default() }
    }

    /// Whether the run is stopped at some time, or stops by itself.
    pub fn stops(&self) -> bool {
        self.stop.is_some() || self.policy.timeout.is_some()
    }

    /// The maximum virtual time of the run.
    pub fn bound(&self) -> Duration {
        /// A multiple of the time that a source without an answer costs after the grace.
        const LAST_CALLS: Duration = Duration::from_secs(15);
        /// More than all retries of all transactions can take.
        const FINITE: Duration = Duration::from_secs(48 * 3600);
        match [self.stop, self.policy.timeout].into_iter().flatten().min() {
            Some(stop) => stop + self.policy.shutdown_grace + LAST_CALLS,
            None => FINITE,
        }
    }
}

fn draw_transactions(rng: &mut Rng, late: bool) -> Vec<Planned> {
    let count = if rng.bool() { rng.usize(0..60) } else { rng.usize(0..12) };
    let (twins, bad, late) = (often(rng, 40), often(rng, 10), if late { often(rng, 60) } else { 0 });
    let planned = |number| Planned {
        id: if rng.u8(..100) < twins { rng.usize(0..=number) } else { number },
        arrives: if rng.u8(..100) < late { millis(rng, 6_000) } else { Duration::ZERO },
        decodes: rng.u8(..100) >= bad,
    };
    (0..count).map(planned).collect()
}

fn draw_policy(rng: &mut Rng) -> ConsumerPolicy {
    ConsumerPolicy {
        concurrency: rng.usize(1..=8),
        batch_size: rng.usize(1..=8),
        prefetch: if rng.bool() { 0 } else { rng.usize(1..=8) },
        mode: if rng.u8(..4) == 0 { Mode::Batch } else { Mode::Continuous },
        streaming: rng.u8(..3) == 0,
        limit: match rng.u8(..20) {
            0 => Some(0),
            1..=5 => Some(rng.u64(1..40)),
            _ => None,
        },
        timeout: (rng.u8(..8) == 0).then(|| millis(rng, 10_000)),
        transaction_timeout: rng.bool().then(|| millis(rng, 5_000)),
        fetch: draw_retry(rng),
        process: draw_retry(rng),
        success: draw_retry(rng),
        exception: draw_retry(rng),
        dead_letter: rng.bool().then_some("letters".into()),
        on_handler_failure: if rng.bool() { OnHandlerFailure::Requeue } else { OnHandlerFailure::Reject },
        max_deliveries: rng.u32(1..=6),
        shutdown_grace: if rng.u8(..4) == 0 { Duration::ZERO } else { millis(rng, 4_000) },
        ..ConsumerPolicy::DEFAULT
    }
}

fn draw_retry(rng: &mut Rng) -> RetryPolicy {
    let backoff = if rng.bool() { Duration::ZERO } else { millis(rng, 400) };
    RetryPolicy {
        max_attempts: if rng.bool() { 1 } else { rng.u32(2..=4) },
        timeout: rng.bool().then(|| millis(rng, 1_500)),
        backoff,
        backoff_cap: rng.bool().then_some(backoff * 2),
        jitter: if rng.bool() { 0.0 } else { 0.5 },
        ..RetryPolicy::DEFAULT
    }
}

fn draw_rates(rng: &mut Rng) -> Rates {
    Rates {
        faults: rng.u32(0..25),
        fetch: often(rng, 30),
        settle: often(rng, 50),
        dispatch: often(rng, 40),
        letter: often(rng, 60),
        slow_link: often(rng, 40),
        handler_fails: often(rng, 60),
        handler_panics: often(rng, 20),
        handler_slow: often(rng, 60),
    }
}

/// Zero in every second run, otherwise up to `most` of 100 cases.
fn often(rng: &mut Rng, most: u8) -> u8 {
    if rng.bool() { 0 } else { rng.u8(1..=most) }
}

/// From 1 ms to `most`, often short.
pub(super) fn millis(rng: &mut Rng, most: u64) -> Duration {
    let most = if rng.bool() { most } else { (most / 20).max(1) };
    Duration::from_millis(rng.u64(1..=most))
}
