//! How much may be fetched, run and finished at once.

use crate::policy::{ConsumerPolicy, Mode};

/// What is finished may wait to be settled up to this many; beyond it, nothing new begins.
const UNSETTLED: usize = 1024;

/// What a policy says of it, as numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) concurrency: usize,
    pub(super) batch_size: usize,
    pub(super) prefetch: usize,
    pub(super) whole_batches: bool,
    pub(super) unsettled: usize,
}

impl Rules {
    pub(super) fn of(policy: &ConsumerPolicy) -> Self {
        Self {
            concurrency: policy.concurrency,
            batch_size: policy.batch_size,
            prefetch: policy.prefetch,
            whole_batches: policy.mode == Mode::Batch,
            unsettled: policy.concurrency.saturating_mul(4).max(UNSETTLED),
        }
    }
}
