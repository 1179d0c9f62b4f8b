//! Runs the outbound transactions of a hybrid through the steps of its producer.

use super::clock::Clock;
use super::completed::Completed;
use super::concurrently::run_concurrently;
use super::lifecycle::Outcome;
use super::processing::{Given, Processing};
use super::run_context::RunContext;
use super::steps::{Steps, Through};
use super::worker::run_steps;
use crate::connector::Disposition;
use crate::transaction::{Result, Transaction, TransactionError};

/// Runs transactions through the steps of `producer`, and waits for all of them.
pub(super) async fn outbound<S: Steps>(
    producer: &S,
    context: &RunContext,
    transactions: &[Transaction],
) -> Result<Through> {
    let one = |transaction: Transaction| async move {
        let (mut clock, mut completed) = (Clock::starting_now(), Completed::aborted());
        let given = Given {
            context,
            transaction: &transaction,
            receipt: None,
            completed: &mut completed,
            clock: &mut clock,
        };
        run_steps(producer, &mut Processing::new(S::INFO, given)).await;
        context.count(S::INFO.task, &transaction, &completed);
        went(&transaction, completed)
    };
    // The calls of a blocking producer share the one thread of the lane.
    let limit = if S::INFO.blocking { 1 } else { context.policy.concurrency };
    let through = run_concurrently(transactions.iter().cloned(), limit, one).await.into_result()?;
    Ok(if through.contains(&Through::Abandoned) { Through::Abandoned } else { Through::Whole })
}

/// The result of an outbound transaction for its inbound transaction. An error keeps its category.
fn went(transaction: &Transaction, completed: Completed) -> Result<Through> {
    let disposition = match (completed.outcome, completed.disposition) {
        (Outcome::Aborted, _) => return Ok(Through::Abandoned),
        (_, Disposition::Ack) => return Ok(Through::Whole),
        (_, disposition) => disposition.as_str(),
    };
    let message = format!("outbound transaction {} did not go through ({disposition})", transaction.id());
    Err(match completed.failure.map(|failure| failure.error) {
        Some(error) => {
            TransactionError::new(error.category(), format!("{message}: {error}")).with_source(error)
        }
        None => TransactionError::system(message),
    })
}
