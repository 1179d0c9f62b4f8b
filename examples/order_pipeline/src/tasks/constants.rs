//! Policies that the tasks share.

use std::time::Duration;

use ergon::prelude::*;

/// The policy for dispatching a transaction to the next task.
pub(crate) const HAND_ON: RetryPolicy = RetryPolicy {
    max_attempts: 5,
    backoff: Duration::from_secs(1),
    backoff_cap: Some(Duration::from_secs(10)),
    ..RetryPolicy::DEFAULT
};
