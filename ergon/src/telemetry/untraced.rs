//! What stands in for spans in a program without the feature `opentelemetry`: nothing is recorded, and the place in a
//! trace that a transaction came with goes on with what is made of it.

use std::sync::Arc;
use std::time::SystemTime;

use super::Scope;
use super::propagation::{Place, TraceContext};
use crate::transaction::{Transaction, TransactionError};

/// How the transactions of one run are traced: not at all, so there is none.
#[derive(Debug)]
pub(crate) enum RunTrace {}

/// What one fetch brought.
#[derive(Debug)]
pub(crate) enum Batch {}

/// What is recorded of a transaction.
#[derive(Debug)]
pub(crate) enum Recording {}

/// A dispatch under way.
#[derive(Debug)]
pub(crate) struct Sending;

/// What became of a transaction.
#[expect(dead_code, reason = "the same as with spans")]
pub(crate) struct Ending<'a> {
    pub(crate) outcome: &'static str,
    pub(crate) disposition: &'static str,
    pub(crate) error: Option<&'a TransactionError>,
}

impl RunTrace {
    pub(crate) fn begin(_task: &'static str, _system: &'static str, _streaming: bool) -> Option<Self> {
        None
    }

    pub(crate) fn end(&self, _failure: Option<&crate::Error>) {
        match *self {}
    }

    pub(crate) fn batch(&self, _began: SystemTime, _count: usize) -> Option<Arc<Batch>> {
        match *self {}
    }

    pub(crate) fn transaction(
        &self,
        _transaction: &Transaction,
        _batch: Option<&Batch>,
    ) -> (Place, Option<Box<Recording>>) {
        match *self {}
    }
}

impl Recording {
    pub(crate) fn context(&self) -> TraceContext {
        match *self {}
    }

    pub(crate) fn resume(&mut self) {
        match *self {}
    }

    pub(crate) fn begin_step(&mut self, _name: &str) {
        match *self {}
    }

    pub(crate) fn begin_attempt(&mut self, _number: u32) -> TraceContext {
        match *self {}
    }

    pub(crate) fn end_attempt(&mut self, _number: u32, _most: u32, _error: Option<&TransactionError>) {
        match *self {}
    }

    pub(crate) fn end_step(&mut self, _most: u32, _error: Option<&TransactionError>) {
        match *self {}
    }

    pub(crate) fn end(self, _ending: &Ending<'_>) {
        match self {}
    }
}

impl Sending {
    pub(crate) fn begin(_system: &'static str, transactions: &mut [Transaction]) -> Self {
        if let Some(place) = Scope::with_current(|scope| scope?.trace.clone()) {
            for transaction in transactions {
                place.inject(transaction);
            }
        }
        Self
    }

    #[expect(clippy::unused_self, reason = "the same call as with spans")]
    pub(crate) fn end(self, _failure: Option<&TransactionError>) {}
}

/// Where the running code stands.
pub(crate) fn current(place: Option<&Place>) -> Option<TraceContext> {
    place.map(|place| place.context)
}
