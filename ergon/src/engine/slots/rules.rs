//! How much may be fetched, run and finished at once.

use crate::policy::{ConsumerPolicy, Mode};

/// What is finished may wait to be settled up to this many; beyond it, nothing new begins.
const UNSETTLED: usize = 1024;

/// So many dead letters may wait for their next attempt; beyond it, nothing new begins. They are held in memory.
const LETTERS: usize = 1024;

/// What a policy says of it, as numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) concurrency: usize,
    pub(super) batch_size: usize,
    pub(super) prefetch: usize,
    pub(super) whole_batches: bool,
    pub(super) unsettled: usize,
    pub(super) letters: usize,
    pub(super) streaming: bool,
    /// What was fetched and has not begun is not given back at a stop, but begun within the grace: nobody else has it.
    pub(super) keeps_fetched: bool,
}

impl Rules {
    /// The rules of a policy; `is_stream` says whether the source is the task's own stream.
    pub(super) fn of(policy: &ConsumerPolicy, is_stream: bool) -> Self {
        Self {
            concurrency: policy.concurrency,
            batch_size: policy.batch_size,
            prefetch: policy.prefetch,
            whole_batches: policy.mode == Mode::Batch,
            unsettled: policy.concurrency.saturating_mul(4).max(UNSETTLED),
            letters: LETTERS,
            streaming: policy.streaming,
            keeps_fetched: is_stream,
        }
    }
}
