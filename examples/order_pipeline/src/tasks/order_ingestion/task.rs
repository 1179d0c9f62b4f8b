//! The business logic.

use ergon::prelude::*;

use super::checks;
use super::schemas::WorkbookRow;
use crate::tasks::constants::HAND_ON;
use crate::tasks::schemas::Order;

/// Checks one row after the other.
#[ergon::task(
    connectors(input, output, refused),
    consumer(concurrency = 8, batch_size = 100, prefetch = 100, success = HAND_ON, dead_letter = refused)
)]
pub(crate) struct OrderIngestion;

impl Consumer for OrderIngestion {
    type Payload = WorkbookRow;
    type Output = Order;

    async fn process_transaction(&self, row: &Transaction<WorkbookRow>) -> Result<Order> {
        Ok(checks::order(row.payload())?)
    }

    async fn handle_process_success(&self, row: &Transaction<WorkbookRow>, order: &Order) -> Result<()> {
        self.output_connector.dispatch(row.derive(order)?).await
    }
}
