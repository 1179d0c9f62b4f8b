//! The business logic.

use ergon::prelude::*;

use super::schemas::AcmeOrder;
use crate::tasks::constants::HAND_ON;
use crate::tasks::schemas::EnrichedOrder;

/// Places one order after the other.
#[ergon::task(
    connectors(input, acme, unsent),
    consumer(concurrency = 8, batch_size = 8, prefetch = 8, success = HAND_ON, dead_letter = unsent)
)]
pub(crate) struct OrderDispatch;

impl Consumer for OrderDispatch {
    type Payload = EnrichedOrder;
    type Output = AcmeOrder;

    async fn process_transaction(&self, enriched: &Transaction<EnrichedOrder>) -> Result<AcmeOrder> {
        Ok(AcmeOrder::from(enriched.payload()))
    }

    async fn handle_process_success(
        &self,
        enriched: &Transaction<EnrichedOrder>,
        order: &AcmeOrder,
    ) -> Result<()> {
        self.acme_connector.dispatch(enriched.derive(order)?).await
    }
}
