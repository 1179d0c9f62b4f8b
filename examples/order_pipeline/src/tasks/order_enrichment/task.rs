//! The business logic.

use ergon::prelude::*;

use super::priority::is_express;
use crate::services::crm::{CrmService, Customer};
use crate::tasks::constants::HAND_ON;
use crate::tasks::schemas::{EnrichedOrder, Order};

/// A hybrid: consumes orders, and produces enriched orders. An order is settled when its enriched order was dispatched.
#[ergon::task(
    connectors(input, output, refused),
    services(crm),
    consumer(concurrency = 16, batch_size = 16, prefetch = 16, process(max_attempts = 3, backoff = "1s"), dead_letter = refused),
    producer(concurrency = 16, prepare = HAND_ON, dead_letter = refused),
)]
pub(crate) struct OrderEnrichment;

impl Consumer for OrderEnrichment {
    type Payload = Order;
    type Output = Vec<Transaction>;

    async fn process_transaction(&self, order: &Transaction<Order>) -> Result<Vec<Transaction>> {
        let Customer { name, tier } = self.crm_service.customer(&order.payload().customer_id).await?;
        let express = is_express(order.payload(), tier);
        let enriched = EnrichedOrder { order: order.payload().clone(), customer_name: name, tier, express };
        Ok(vec![order.derive(&enriched)?])
    }
}

impl Producer for OrderEnrichment {
    type Payload = EnrichedOrder;
    type Output = ();

    async fn prepare_transaction(&self, enriched: &Transaction<EnrichedOrder>) -> Result<()> {
        self.output_connector.dispatch(enriched.forward()).await
    }
}
