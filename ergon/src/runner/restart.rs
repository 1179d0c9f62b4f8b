//! Decides when a dead worker is restarted, and when no worker is restarted any more. The rule is pure: it reads no
//! clock, and draws no random number.

use std::time::Duration;

use crate::policy::RetryPolicy;

/// The number of restarts that are allowed within [`WINDOW`].
pub(crate) const MOST: usize = 10;
/// The period in which restarts are counted.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
/// A worker that lived this long was healthy: the wait after its death is the shortest one again.
const WELL_AFTER: Duration = Duration::from_secs(30);

/// The wait before a restart: 200 ms, doubled for each death in a row, at most 5 s, with 20 % jitter so that workers do
/// not restart all at the same time.
const WAIT: RetryPolicy = RetryPolicy {
    backoff: Duration::from_millis(200),
    backoff_cap: Some(Duration::from_secs(5)),
    jitter: 0.2,
    ..RetryPolicy::DEFAULT
};

/// The restarts of all workers. Times are measured from any fixed moment.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    /// The times of the recent restarts.
    begun: Vec<Duration>,
}

/// The number of deaths of one worker in a row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Streak(u32);

impl Restarts {
    /// Returns the wait after the death of a worker at `now` that `lived` so long; `None` if a restart would exceed the
    /// limit. `random` is between 0 and 1.
    pub(crate) fn after(
        &self,
        streak: &mut Streak,
        now: Duration,
        lived: Duration,
        random: f64,
    ) -> Option<Duration> {
        streak.0 = if lived >= WELL_AFTER { 1 } else { streak.0.saturating_add(1) };
        let wait = WAIT.jittered_wait_after(streak.0, None, random);
        (self.within(now.saturating_add(wait)) < MOST).then_some(wait)
    }

    /// Starts a restart after its wait. Returns false if other workers have used up the limit during the wait.
    pub(crate) fn begin(&mut self, now: Duration) -> bool {
        self.begun.retain(|then| then.saturating_add(WINDOW) > now);
        let may = self.begun.len() < MOST;
        if may {
            self.begun.push(now);
        }
        may
    }

    /// The number of restarts in the period that ends at `end`.
    fn within(&self, end: Duration) -> usize {
        self.begun.iter().filter(|then| then.saturating_add(WINDOW) > end).count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_death_in_a_row_waits_longer_up_to_a_cap() {
        let (restarts, mut streak) = (Restarts::default(), Streak::default());
        let waits = [0, 60, 120, 180, 240, 300, 360].map(|now| {
            let now = Duration::from_secs(now);
            restarts.after(&mut streak, now, Duration::ZERO, 0.5).unwrap().as_millis()
        });
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn who_lived_well_begins_anew() {
        let (restarts, mut streak) = (Restarts::default(), Streak::default());
        let mut wait = |lived| restarts.after(&mut streak, Duration::ZERO, lived, 0.5).unwrap().as_millis();
        assert_eq!([Duration::ZERO, Duration::ZERO, WELL_AFTER].map(&mut wait), [200, 400, 200]);
    }

    proptest! {
        #[test]
        fn no_minute_has_more_than_ten_restarts(
            deaths in proptest::collection::vec((0u64..4_000, 0u64..40_000, 0usize..4, 0.0f64..1.0), 1..200),
        ) {
            let mut restarts = Restarts::default();
            let mut streaks = [Streak::default(); 4];
            let (mut now, mut begun, mut due) = (0, Vec::new(), Vec::<Duration>::new());
            for (gap, lived, worker, random) in deaths {
                now += gap;
                let (at, lived) = (Duration::from_millis(now), Duration::from_millis(lived));
                due.sort();
                let later = due.split_off(due.partition_point(|then| *then <= at));
                begun.extend(std::mem::replace(&mut due, later).into_iter().filter(|then| restarts.begin(*then)));
                due.extend(restarts.after(&mut streaks[worker], at, lived, random).map(|wait| at + wait));
            }
            for eleven in begun.windows(MOST + 1) {
                prop_assert!(eleven[MOST] >= eleven[0] + WINDOW, "{eleven:?}");
            }
        }
    }

    #[test]
    fn ten_in_a_minute_are_allowed_and_the_eleventh_is_not() {
        let mut restarts = Restarts::default();
        let die =
            |restarts: &Restarts| restarts.after(&mut Streak::default(), Duration::ZERO, Duration::ZERO, 0.5);
        assert!((0..MOST).all(|_| die(&restarts).is_some_and(|wait| restarts.begin(wait))));
        assert_eq!(die(&restarts), None);
    }

    #[test]
    fn of_two_that_wait_for_the_last_place_one_has_it() {
        let mut restarts = Restarts::default();
        assert!((1..MOST).all(|_| restarts.begin(Duration::ZERO)));
        let die = || restarts.after(&mut Streak::default(), Duration::ZERO, Duration::ZERO, 0.5);
        let waits = [die(), die()].map(Option::unwrap);
        assert_eq!(waits.map(|wait| restarts.begin(wait)), [true, false]);
    }
}
