//! The steps of a task in one of its roles: what each role says to the engine, so that all roles are processed alike.

use std::future::Future;
use std::ops::Deref;

use serde_json::Value;

use super::run_context::RunContext;
use crate::connector::{Disposition, Receipt};
use crate::telemetry::Step;
use crate::transaction::{Result, Transaction, TransactionError};

/// What the engine knows of a role.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoleInfo {
    /// The task's name.
    pub(super) task: &'static str,
    /// What the first step is called: process or prepare.
    pub(super) first: Step,
    /// Whether the steps block their thread.
    pub(super) blocking: bool,
    /// Whether what the first step makes goes through the steps of another role.
    pub(super) hybrid: bool,
}

/// The steps of a task in one role.
pub(super) trait Steps: Send + Sync + 'static {
    const INFO: RoleInfo;
    /// What a transaction carries.
    type Payload: Send + Sync + 'static;
    /// What the first step makes.
    type Output: Send + Sync + 'static;
    /// How transaction and output are held during the processing: by value, or shared with code that needs them longer.
    type Held<X: Send + Sync + 'static>: Deref<Target = X> + From<X> + Send + Sync;

    /// Makes the transaction one of the task's own type.
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

    /// What `process-transaction` shows of what the first step made.
    fn show(&self, output: &Self::Output) -> Option<Value>;

    /// Takes what the first step made through the steps of another role: a hybrid's producer. The others do nothing.
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

    /// The end of the task.
    fn exit(&self) -> impl Future<Output = Result<()>> + Send;
}

/// How far a hybrid's outbound transactions came, if none of them failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Through {
    Whole,
    /// Some were abandoned on the way, because the run is to end.
    Abandoned,
}

/// Something held by value.
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
