//! Policies and limits that tasks share.

use std::time::Duration;

use ergon::prelude::*;

/// The retry policy of steps that call another system.
pub(crate) const REMOTE: RetryPolicy = RetryPolicy {
    max_attempts: 3,
    backoff: Duration::from_secs(1),
    backoff_cap: Some(Duration::from_secs(10)),
    ..RetryPolicy::DEFAULT
};

/// The maximum number of pieces in one order.
pub(crate) const MOST_PIECES: u32 = 1_000;
