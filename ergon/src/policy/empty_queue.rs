//! Computes the waits of a streaming consumer for an empty source. They grow, so that a source without data is rarely
//! asked.

use std::time::Duration;

use super::{EmptyQueuePolicy, RetryPolicy};

impl EmptyQueuePolicy {
    /// Returns the wait after the `n`-th empty fetch in a row; the first one is 1.
    pub fn wait_after(&self, n: u32) -> Duration {
        let Self { backoff, backoff_multiplier, backoff_cap } = *self;
        let cap = Some(backoff_cap);
        RetryPolicy { backoff, backoff_multiplier, backoff_cap: cap, ..RetryPolicy::DEFAULT }
            .wait_after(n, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_source_is_asked_twice_a_second_at_most_after_the_first_second() {
        let policy = EmptyQueuePolicy::DEFAULT;
        let waits: Vec<_> = (1..=8).map(|n| policy.wait_after(n).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }
}
