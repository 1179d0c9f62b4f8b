//! How often messages of classic queues were given back here: the broker only says that there was a delivery before.

use std::collections::HashMap;

use super::receipt::Verdict;
use crate::connector::Delivery;
use crate::transaction::TransactionId;

/// So many are remembered; beyond that the counts begin anew. Some stay that another worker has settled.
const REMEMBERED: usize = 10_000;

/// Counts what is given back again and again, so that `max_deliveries` ends it on a classic queue too.
#[derive(Debug, Default)]
pub(super) struct Returns {
    /// Deliveries that were delivered before, and are not settled.
    ids: HashMap<u64, TransactionId>,
    /// How often each was given back after its second delivery.
    times: HashMap<TransactionId, u32>,
}

impl Returns {
    /// Whether the broker said no more than that the message was delivered before.
    fn is_uncounted(delivery: &Delivery) -> bool {
        let transaction = delivery.transaction();
        transaction.deliveries() > 1 && transaction.metadata().get("x-delivery-count").is_none()
    }

    /// Says how often a delivery was handed out, as far as that was from here.
    pub(super) fn count(&mut self, delivery: Delivery) -> Delivery {
        if !Self::is_uncounted(&delivery) {
            return delivery;
        }
        let (transaction, receipt) = delivery.into_parts();
        let id = transaction.shared_id().clone();
        let times = self.times.get(&id).copied().unwrap_or(0);
        self.ids.insert(receipt.tag(), id);
        let deliveries = transaction.deliveries().saturating_add(times);
        Delivery::new(transaction.with_deliveries(deliveries), receipt)
    }

    /// Takes in what became of deliveries.
    pub(super) fn settle(&mut self, told: &[(u64, Verdict)]) {
        if self.ids.is_empty() {
            return;
        }
        for (tag, verdict) in told {
            let Some(id) = self.ids.remove(tag) else { continue };
            if *verdict != Verdict::Requeue {
                self.times.remove(&id);
                continue;
            }
            if self.times.len() >= REMEMBERED {
                self.times.clear();
            }
            *self.times.entry(id).or_default() += 1;
        }
    }
}
