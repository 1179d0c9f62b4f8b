//! Defines the steps of a task in one of its roles. The engine processes all roles alike through this trait.

use std::future::Future;
use std::ops::Deref;

use serde_json::Value;

use super::run_context::RunContext;
use crate::connector::{Disposition, Receipt};
use crate::telemetry::Step;
use crate::transaction::{Result, Transaction, TransactionError};

/// The properties of a role.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoleInfo {
    /// The name of the task.
    pub(super) task: &'static str,
    /// The name of the first step: process or prepare.
    pub(super) first: Step,
    /// Whether the steps block their thread.
    pub(super) blocking: bool,
    /// Whether the outputs of the first step go through the steps of another role.
    pub(super) hybrid: bool,
}

/// The steps of a task in one role.
pub(super) trait Steps: Send + Sync + 'static {
    const INFO: RoleInfo;
    /// The type that a transaction carries.
    type Payload: Send + Sync + 'static;
    /// The type that the first step makes.
    type Output: Send + Sync + 'static;
    /// The type that holds the transaction and the output while they are processed: by value, or shared with code that
    /// needs them longer.
    type Held<X: Send + Sync + 'static>: Deref<Target = X> + From<X> + Send + Sync;

    /// Decodes the transaction into the task's type.
    fn open(
        &self,
        transaction: &Transaction,
        receipt: Option<&Receipt>,
    ) -> Result<Self::Held<Transaction<Self::Payload>>>;

    /// The first step: process or prepare.
    fn first(
        &self,
        transaction: &Self::Held<Transaction<Self::Payload>>,
    ) -> impl Future<Output = Result<Self::Output>> + Send;

    /// The output of the first step as `process-transaction` shows it.
    fn show(&self, output: &Self::Output) -> Option<Value>;

    /// Runs the outputs of the first step through the steps of another role: the producer of a hybrid. The default does
    /// nothing.
    fn outbound(
        &self,
        context: &RunContext,
        output: &Self::Output,
    ) -> impl Future<Output = Result<Through>> + Send {
        let _ = (context, output);
        std::future::ready(Ok(Through::Whole))
    }

    /// The success step.
    fn success(
        &self,
        transaction: &Self::Held<Transaction<Self::Payload>>,
        output: &Self::Held<Self::Output>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// The exception step.
    fn exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> impl Future<Output = Result<Disposition>> + Send;

    /// The `exit` hook of the task.
    fn exit(&self) -> impl Future<Output = Result<()>> + Send;
}

/// The result of a hybrid's outbound transactions, if none of them failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Through {
    Whole,
    /// Some were cut short, because the run stops.
    Abandoned,
}

/// A value that is held by value.
#[derive(Debug)]
pub(super) struct Own<X>(X);

impl<X> From<X> for Own<X> {
    fn from(value: X) -> Self {
        Self(value)
    }
}

impl<X> Deref for Own<X> {
    type Target = X;

    fn deref(&self) -> &X {
        &self.0
    }
}
