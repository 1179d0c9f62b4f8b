//! The sink side of RabbitMQ: publishes transactions, and returns when the broker has confirmed them.

use std::time::Duration;

use tokio::time::Instant;

use super::RabbitMq;
use super::message::Outgoing;
use crate::connector::{ConnectorError, Endpoint, Sink};
use crate::transaction::Transaction;

/// A time limit that no program reaches, for a limit beyond the range of the clock.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

impl Sink for RabbitMq {
    async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        let (mut messages, mut index_of, mut failures) =
            (Vec::with_capacity(transactions.len()), Vec::new(), Vec::new());
        for (index, transaction) in transactions.iter().enumerate() {
            match Outgoing::of(transaction, self.publisher()) {
                Ok(message) => {
                    messages.push(message);
                    index_of.push(index);
                }
                Err(error) => failures.push((index, error)),
            }
        }
        if !messages.is_empty() {
            let failed = self.publish(messages).await?;
            let original = |at: usize| index_of.get(at).copied().unwrap_or(at);
            failures.extend(failed.into_iter().map(|(at, error)| (original(at), error)));
        }
        if failures.is_empty() { Ok(()) } else { Err(ConnectorError::partial(failures)) }
    }

    fn writes_to(&self) -> Vec<Endpoint> {
        self.published_to()
    }
}

impl RabbitMq {
    /// Publishes over the present connection, or over the next one, within `confirm_timeout`.
    pub(super) async fn publish(
        &self,
        mut messages: Vec<Outgoing>,
    ) -> Result<Vec<(usize, ConnectorError)>, ConnectorError> {
        let link = self.publishing().await?;
        let within = self.config.publish.confirm_timeout;
        let now = Instant::now();
        // A limit beyond the range of the clock is no limit.
        let deadline = now.checked_add(within).unwrap_or(now + NEVER);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let session = link.session(left).await?;
            messages = match session.publish(messages, deadline).await {
                Ok(failed) => return Ok(failed),
                // The session was lost before it accepted the messages.
                Err(back) if left > Duration::ZERO => back,
                Err(_) => {
                    return Err(ConnectorError::transient(
                        "the connection was lost before the message was sent",
                    ));
                }
            };
        }
    }
}
