//! How often a step is tried, and how long it waits in between.

use std::time::Duration;

use super::PolicyProblem;
use super::problem::NO_TIME;

/// How often a step is attempted, how long one attempt may take, and how long to wait before the next.
///
/// The wait before attempt *n + 1* is `min(backoff * backoff_multiplier^(n-1), backoff_cap)`, then up to `jitter` of
/// it more or less, never above the cap.
///
/// ```
/// use ergon::policy::RetryPolicy;
/// use std::time::Duration;
///
/// const PATIENT: RetryPolicy = RetryPolicy {
///     max_attempts: 4,
///     backoff: Duration::from_secs(1),
///     backoff_cap: Some(Duration::from_secs(3)),
///     ..RetryPolicy::DEFAULT
/// };
/// let waits: Vec<_> = (1..4).map(|attempt| PATIENT.wait_after(attempt, None).as_secs()).collect();
/// assert_eq!(waits, [1, 2, 3]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// How many attempts there are, the first one included; at least 1. Default 1.
    pub max_attempts: u32,
    /// How long one attempt may take. Default: no limit.
    pub timeout: Option<Duration>,
    /// The wait before the second attempt. Default 0.
    pub backoff: Duration,
    /// What each further wait is multiplied by; at least 1. Default 2.
    pub backoff_multiplier: f64,
    /// The longest wait. Default: none.
    pub backoff_cap: Option<Duration>,
    /// By how much of it a wait is made longer or shorter at random, from 0 to 1. Default 0.
    pub jitter: f64,
}

impl RetryPolicy {
    /// One attempt, no time limit.
    pub const DEFAULT: Self = Self {
        max_attempts: 1,
        timeout: None,
        backoff: Duration::ZERO,
        backoff_multiplier: 2.0,
        backoff_cap: None,
        jitter: 0.0,
    };

    /// How long to wait after attempt number `attempt` (from 1) failed. `retry_after`, what the failing side asked
    /// for, replaces the computed wait; the cap holds for both. Without jitter.
    pub fn wait_after(&self, attempt: u32, retry_after: Option<Duration>) -> Duration {
        let wait = retry_after.unwrap_or_else(|| self.computed_wait(attempt));
        self.backoff_cap.map_or(wait, |cap| wait.min(cap))
    }

    /// The same with jitter: `random` is uniform in `0..1`.
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

    /// Says what makes this policy impossible, if anything does.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub const fn check(&self) -> Result<(), PolicyProblem> {
        match self.broken() {
            [Some((key, rule)), ..]
            | [None, Some((key, rule)), ..]
            | [None, None, Some((key, rule)), ..]
            | [None, None, None, Some((key, rule)), _]
            | [None, None, None, None, Some((key, rule))] => Err(PolicyProblem::new(key, rule)),
            [None, None, None, None, None] => Ok(()),
        }
    }

    /// All rules that do not hold.
    pub(super) fn problems(&self) -> impl Iterator<Item = PolicyProblem> + use<> {
        self.broken().into_iter().flatten().map(|(key, rule)| PolicyProblem::new(key, rule))
    }

    /// The key and the rule of each that does not hold.
    const fn broken(&self) -> [Option<(&'static str, &'static str)>; 5] {
        let no_attempt = self.max_attempts == 0;
        let shrinks = self.backoff_multiplier.is_nan() || self.backoff_multiplier < 1.0;
        let no_share = self.jitter.is_nan() || self.jitter < 0.0 || self.jitter > 1.0;
        let capped_below = match self.backoff_cap {
            Some(cap) => cap.as_nanos() < self.backoff.as_nanos(),
            None => false,
        };
        let no_time = matches!(self.timeout, Some(limit) if limit.is_zero());
        [
            if no_time { Some(("timeout", NO_TIME)) } else { None },
            if no_attempt { Some(("max_attempts", "must be at least 1")) } else { None },
            if shrinks { Some(("backoff_multiplier", "must be at least 1")) } else { None },
            if no_share { Some(("jitter", "must be from 0 to 1")) } else { None },
            if capped_below { Some(("backoff_cap", "must not be smaller than `backoff`")) } else { None },
        ]
    }

    fn computed_wait(&self, attempt: u32) -> Duration {
        // Nothing times infinity is no number.
        if self.backoff.is_zero() {
            return Duration::ZERO;
        }
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        saturating(self.backoff.as_secs_f64() * self.backoff_multiplier.powi(exponent))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Seconds as a duration; too many, or no number at all, are the longest duration.
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
