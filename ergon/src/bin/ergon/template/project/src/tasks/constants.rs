//! Policies and limits that tasks share.

use std::time::Duration;

use ergon::prelude::*;

/// How often a step that reaches another system is tried, and how long it waits in between.
pub(crate) const REMOTE: RetryPolicy = RetryPolicy {
    max_attempts: 3,
    backoff: Duration::from_secs(1),
    backoff_cap: Some(Duration::from_secs(10)),
    ..RetryPolicy::DEFAULT
};

/// How many pieces one order may have.
pub(crate) const MOST_PIECES: u32 = 1_000;
