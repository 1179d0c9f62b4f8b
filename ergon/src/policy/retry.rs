//! Computes the waits between the attempts of a step.

use std::time::Duration;

use super::RetryPolicy;

impl RetryPolicy {
    /// Returns the wait after attempt number `attempt`, without jitter; the first attempt is 1.
    ///
    /// The `retry_after` of an error replaces the computed wait. [`backoff_cap`](Self::backoff_cap) limits both.
    pub fn wait_after(&self, attempt: u32, retry_after: Option<Duration>) -> Duration {
        let wait = retry_after.unwrap_or_else(|| self.computed_wait(attempt));
        self.backoff_cap.map_or(wait, |cap| wait.min(cap))
    }

    /// Returns the wait with jitter; `random` is uniform in `0..1`.
    pub(crate) fn jittered_wait_after(
        &self,
        attempt: u32,
        retry_after: Option<Duration>,
        random: f64,
    ) -> Duration {
        let wait = self.wait_after(attempt, retry_after);
        if self.jitter <= 0.0 || retry_after.is_some() {
            return wait;
        }
        let factor = 1.0 + self.jitter * (2.0 * random - 1.0);
        let spread = saturating(wait.as_secs_f64() * factor);
        self.backoff_cap.map_or(spread, |cap| spread.min(cap))
    }

    fn computed_wait(&self, attempt: u32) -> Duration {
        // Without this check, a backoff of 0 times an infinite factor would be NaN.
        if self.backoff.is_zero() {
            return Duration::ZERO;
        }
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        saturating(self.backoff.as_secs_f64() * self.backoff_multiplier.powi(exponent))
    }
}

/// Converts seconds to a duration. Too many seconds, and NaN, are the longest duration.
fn saturating(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(if seconds < 0.0 { Duration::ZERO } else { Duration::MAX })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_default_multiplier_doubles() {
        let policy = RetryPolicy { backoff: SECOND, ..RetryPolicy::DEFAULT };
        let waits: Vec<_> = (1..=4).map(|n| policy.wait_after(n, None).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8]);
    }

    #[test]
    fn retry_after_replaces_the_wait_under_the_cap() {
        let policy = RetryPolicy { backoff: SECOND, backoff_cap: Some(3 * SECOND), ..RetryPolicy::DEFAULT };
        assert_eq!(policy.wait_after(1, Some(2 * SECOND)), 2 * SECOND);
        assert_eq!(policy.wait_after(1, Some(9 * SECOND)), 3 * SECOND);
    }

    proptest! {
        #[test]
        fn no_value_overflows_and_the_cap_holds(
            attempt in any::<u32>(), secs in any::<u64>(), multiplier in 1.0f64..1e308,
            cap in proptest::option::of(any::<u64>()), jitter in 0.0f64..=1.0, random in 0.0f64..1.0,
        ) {
            let cap = cap.map(Duration::from_secs);
            let policy = RetryPolicy {
                backoff: Duration::from_secs(secs), backoff_multiplier: multiplier, backoff_cap: cap, jitter,
                ..RetryPolicy::DEFAULT
            };
            let wait = policy.jittered_wait_after(attempt, None, random);
            prop_assert!(cap.is_none_or(|cap| wait <= cap));
            if secs == 0 { prop_assert_eq!(wait, Duration::ZERO); }
        }
    }
}
