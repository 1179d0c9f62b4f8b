//! The limits of a loop: how many deliveries it may fetch, run and leave unsettled.

use crate::policy::{ConsumerPolicy, Mode};

/// The number of finished deliveries that may wait to be settled. When it is reached, nothing new is started: a source
/// that settles slowly must not fill the memory.
const UNSETTLED: usize = 1024;

/// The number of dead letters that may wait for their next attempt, because they are held in memory. When it is
/// reached, nothing new is started.
const DEAD_LETTERS: usize = 1024;

/// The limits that follow from a policy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) concurrency: usize,
    pub(super) batch_size: usize,
    pub(super) prefetch: usize,
    pub(super) whole_batches: bool,
    pub(super) unsettled: usize,
    pub(super) dead_letters: usize,
    pub(super) streaming: bool,
    /// Whether fetched deliveries that were not started are started within the grace of a stop, instead of given back.
    /// This applies to a stream, because a stream takes nothing back.
    pub(super) keeps_fetched: bool,
}

impl Rules {
    /// The limits of a policy. `is_stream` says whether the source is the task's own stream.
    pub(super) fn of(policy: &ConsumerPolicy, is_stream: bool) -> Self {
        Self {
            concurrency: policy.concurrency,
            batch_size: policy.batch_size,
            prefetch: policy.prefetch,
            whole_batches: policy.mode == Mode::Batch,
            // A high concurrency finishes more deliveries during one settlement, so the limit grows with it.
            unsettled: policy.concurrency.saturating_mul(4).max(UNSETTLED),
            dead_letters: DEAD_LETTERS,
            streaming: policy.streaming,
            keeps_fetched: is_stream,
        }
    }
}
