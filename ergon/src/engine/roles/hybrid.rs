//! Implements the role of a hybrid, async or blocking: a consumer whose outputs go through the steps of its producer.

use std::future::Future;

use serde_json::Value;

use crate::connector::{Disposition, Receipt};
use crate::engine::outbound::outbound;
use crate::engine::run_context::RunContext;
use crate::engine::steps::{RoleInfo, Steps, Through};
use crate::task::Outbound;
use crate::transaction::{Result, Transaction, TransactionError};

/// A hybrid: a consumer whose outputs go through the steps of its producer.
#[derive(Debug)]
pub(in crate::engine) struct Hybrid<C, P> {
    pub(in crate::engine) consumer: C,
    pub(in crate::engine) producer: P,
}

impl<C: Steps<Output: Outbound>, P: Steps> Steps for Hybrid<C, P> {
    const INFO: RoleInfo = RoleInfo { hybrid: true, ..C::INFO };
    type Payload = C::Payload;
    type Output = C::Output;
    type Held<X: Send + Sync + 'static> = C::Held<X>;

    fn open(
        &self,
        transaction: &Transaction,
        receipt: Option<&Receipt>,
    ) -> Result<C::Held<Transaction<C::Payload>>> {
        self.consumer.open(transaction, receipt)
    }

    fn first(
        &self,
        transaction: &C::Held<Transaction<C::Payload>>,
    ) -> impl Future<Output = Result<C::Output>> + Send {
        self.consumer.first(transaction)
    }

    fn show(&self, output: &C::Output) -> Option<Value> {
        self.consumer.show(output)
    }

    fn outbound(
        &self,
        context: &RunContext,
        output: &C::Output,
    ) -> impl Future<Output = Result<Through>> + Send {
        outbound(&self.producer, context, output.transactions())
    }

    fn success(
        &self,
        transaction: &C::Held<Transaction<C::Payload>>,
        output: &C::Held<C::Output>,
    ) -> impl Future<Output = Result<()>> + Send {
        self.consumer.success(transaction, output)
    }

    fn exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> impl Future<Output = Result<Disposition>> + Send {
        self.consumer.exception(transaction, error)
    }

    async fn exit(&self) -> Result<()> {
        let produced = self.producer.exit().await;
        self.consumer.exit().await.and(produced)
    }
}
