//! Without the feature: nothing is measured, and nothing is left of it in the program.

#![allow(
    clippy::unused_self,
    clippy::needless_pass_by_value,
    clippy::trivially_copy_pass_by_ref,
    reason = "the signatures are those of the feature"
)]

use std::marker::PhantomData;
use std::time::Duration;

use tokio::time::Instant;

use super::{End, Levels};
use crate::telemetry::{Step, Tally};
use crate::transaction::{Category, Transaction};

#[derive(Debug, Default)]
pub(crate) struct Meters {}

impl Meters {
    pub(crate) const OFF: &'static Self = &Self {};

    pub(crate) fn of(_task: &'static str) -> Self {
        Self {}
    }

    pub(crate) fn outbound(_task: &'static str) -> Self {
        Self {}
    }

    #[inline]
    pub(crate) fn begin(&self, _mark: Instant, _transaction: &Transaction) -> Timings {
        Timings {}
    }

    pub(crate) fn now(&self) -> Option<Instant> {
        None
    }

    pub(crate) fn watch(
        &self,
        _levels: impl Fn() -> Option<Levels> + Send + Sync + 'static,
        _stuck: impl Fn() -> usize + Send + Sync + 'static,
    ) {
    }

    pub(crate) fn fetched(&self, _count: usize, _asked_at: Option<Instant>) {}

    pub(crate) fn attempted(&self, _step: &str, _failed: Option<Category>) {}

    pub(crate) fn backs_off(&self, _step: &str, _wait: Duration) {}

    pub(crate) fn retried(&self, _step: &str, _category: Category) {}

    pub(crate) fn timed_out(&self, _step: &str) {}

    pub(crate) fn unsettled(&self, _disposition: &'static str, _unknown: bool) {}

    #[inline]
    pub(crate) fn batch(&self, _tally: &Tally) -> Batch<'_> {
        Batch(PhantomData)
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timings {}

impl Timings {
    #[inline]
    pub(crate) fn ended(&mut self, _step: Step, _end: End) {}

    #[inline]
    pub(crate) fn over(self, _began: Instant, _now: Instant) -> Self {
        self
    }
}

#[derive(Debug)]
pub(crate) struct Batch<'a>(PhantomData<&'a ()>);

impl Batch<'_> {
    #[inline]
    pub(crate) fn step(&mut self, _step: Step, _elapsed: Duration, _course: &Timings) {}

    #[inline]
    pub(crate) fn transaction(&mut self, _course: &Timings, _failed: Option<Category>) {}

    #[inline]
    pub(crate) fn settled(&mut self, _disposition: &'static str) {}

    #[inline]
    pub(crate) fn end(self, _tally: &Tally) {}
}

pub(crate) fn call_retried(_task: &'static str, _category: Category) {}

pub(crate) fn reconnected(_connector: &str, _purpose: &'static str) {}

pub(crate) fn leases_lost(_connector: &str, _count: u64) {}
