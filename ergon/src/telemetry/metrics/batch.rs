//! Counts transactions that are settled together: once for each counter, not once for each transaction.

use std::marker::PhantomData;
use std::time::Duration;

use tokio::time::Instant;

#[cfg(feature = "opentelemetry")]
use super::bound::{Bound, DISPOSITIONS, FINAL, SETTLED, outcome, place};
use super::{End, Meters};
use crate::telemetry::{Step, Tally, with_opentelemetry};
use crate::transaction::Category;

/// The timings and ends of a transaction's steps; empty if metrics are off.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timings {
    /// The age at the start of the first step, in seconds. Seven digits are enough for a histogram, and a small type is
    /// fast to move.
    #[cfg(feature = "opentelemetry")]
    age: f32,
    /// The duration, in seconds.
    #[cfg(feature = "opentelemetry")]
    whole: f32,
    /// The ends of the first step, success and exception.
    #[cfg(feature = "opentelemetry")]
    ends: [Option<End>; 3],
}

impl Timings {
    with_opentelemetry! {
        else { Default::default() }

        /// Records the end of a step.
        #[inline]
        pub(crate) fn ended(&mut self, step: Step, end: End) {
            let [first, success, exception] = &mut self.ends;
            *match step {
                Step::Process | Step::Prepare => first,
                Step::Success => success,
                Step::Exception => exception,
            } = Some(end);
        }

        /// Records the duration of the transaction, from its start to its outcome.
        #[inline]
        pub(crate) fn over(mut self, began: Instant, now: Instant) -> Self {
            self.whole = now.saturating_duration_since(began).as_secs_f32();
            self
        }
    }

    #[cfg(feature = "opentelemetry")]
    pub(super) fn begin(age: f32) -> Self {
        Self { age, ..Self::default() }
    }

    #[cfg(feature = "opentelemetry")]
    fn end(&self, step: Step) -> Option<End> {
        let [first, success, exception] = self.ends;
        match step {
            Step::Process | Step::Prepare => first,
            Step::Success => success,
            Step::Exception => exception,
        }
    }
}

/// A batch of transactions that are settled together.
#[derive(Debug, Default)]
pub(crate) struct Batch<'a> {
    #[cfg(feature = "opentelemetry")]
    bound: Option<&'a Bound>,
    /// The number of transactions of each outcome and of dead letters before the batch.
    #[cfg(feature = "opentelemetry")]
    before: ([u64; FINAL], u64),
    /// Successful attempts of each step.
    #[cfg(feature = "opentelemetry")]
    attempts: [u64; 4],
    /// Settlements that the source confirmed, in the order of the [`DISPOSITIONS`].
    #[cfg(feature = "opentelemetry")]
    settled: [u64; SETTLED],
    /// The meters of the loop.
    meters: PhantomData<&'a Meters>,
}

impl Batch<'_> {
    with_opentelemetry! {
        else { Default::default() }

        /// Records a step of a transaction.
        #[inline]
        pub(crate) fn step(&mut self, step: Step, elapsed: Duration, course: &Timings) {
            let (Some(bound), Some(end)) = (self.bound, course.end(step)) else { return };
            bound.step_took(step, end, elapsed.as_secs_f64());
            if let (End::Succeeded, Some(attempts)) = (end, self.attempts.get_mut(place(step))) {
                *attempts += 1;
            }
            if matches!(step, Step::Process | Step::Prepare) && !bound.outbound {
                bound.queue_wait.record(course.age.into());
            }
        }

        /// Records a transaction with its outcome.
        #[inline]
        pub(crate) fn transaction(&mut self, course: &Timings, failed: Option<Category>) {
            let Some(bound) = self.bound.filter(|bound| !bound.outbound) else { return };
            bound.transaction_took(outcome(failed), course.whole.into());
        }

        /// Counts a settlement that the source confirmed: its disposition, or `given_back`.
        #[inline]
        pub(crate) fn settled(&mut self, disposition: &'static str) {
            if self.bound.is_none() {
                return;
            }
            let place = DISPOSITIONS.iter().position(|known| *known == disposition);
            if let Some(settled) = place.and_then(|place| self.settled.get_mut(place)) {
                *settled += 1;
            }
        }

        /// Ends the batch; `tally` is the tally after it.
        #[inline]
        pub(crate) fn end(self, tally: &Tally) {
            if let Some(bound) = self.bound {
                self.add_to(bound, tally);
            }
        }
    }
}

#[cfg(feature = "opentelemetry")]
impl<'a> Batch<'a> {
    #[inline]
    pub(super) fn new(bound: Option<&'a Bound>, tally: &Tally) -> Self {
        let before = if bound.is_some() { figures(tally) } else { Default::default() };
        Self { bound, before, ..Self::default() }
    }

    fn add_to(self, bound: &Bound, tally: &Tally) {
        let ((before, letters_before), (now, letters)) = (self.before, figures(tally));
        for (outcome, (now, before)) in now.into_iter().zip(before).enumerate() {
            if now > before && !bound.outbound {
                bound.count_transactions(outcome, now - before);
            }
        }
        if letters > letters_before {
            bound.dead_letters.add(letters - letters_before);
        }
        for (step, count) in Step::ALL.into_iter().zip(self.attempts).filter(|(_, count)| *count > 0) {
            bound.count_attempts(step, count);
        }
        for (place, count) in self.settled.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            bound.count_settled(place, count);
        }
    }
}

/// The number of transactions of each outcome, in the order of the outcomes, and of dead letters.
#[cfg(feature = "opentelemetry")]
fn figures(tally: &Tally) -> ([u64; FINAL], u64) {
    let failed = &tally.failed;
    ([tally.succeeded, failed.business, failed.system, failed.timeout], tally.dead_lettered)
}
