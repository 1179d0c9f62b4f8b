//! The output of the task: an order in the form that ACME requires.

use ergon::prelude::*;

use crate::tasks::schemas::EnrichedOrder;

/// An order in the form that ACME requires.
#[derive(Debug, Serialize)]
pub(crate) struct AcmeOrder {
    reference: String,
    sku: String,
    pieces: u32,
    cents: u64,
    ship_to: String,
    service: &'static str,
}

impl From<&EnrichedOrder> for AcmeOrder {
    fn from(enriched: &EnrichedOrder) -> Self {
        let order = &enriched.order;
        Self {
            reference: order.reference.clone(),
            sku: order.product_id.clone(),
            pieces: order.quantity,
            cents: order.cents,
            ship_to: enriched.customer_name.clone(),
            service: if enriched.express { "express" } else { "standard" },
        }
    }
}
