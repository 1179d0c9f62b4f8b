#![deny(warnings, missing_docs, clippy::pedantic)]
//! Every section of the attribute.

use std::sync::Arc;

use ergon::prelude::*;
use ergon::service::Service;

const PATIENT: RetryPolicy = RetryPolicy { max_attempts: 5, ..RetryPolicy::DEFAULT };

/// Returns rates.
pub trait Rates: Send + Sync {
    /// The rate of a currency.
    fn rate(&self, currency: &str) -> f64;
}

/// Fixed rates.
#[derive(Service)]
pub struct FixedRates {
    rate: f64,
}

impl Rates for FixedRates {
    fn rate(&self, _currency: &str) -> f64 {
        self.rate
    }
}

/// The customers.
#[derive(Service)]
pub struct CrmService {
    #[service(default = 10)]
    page_size: usize,
}

/// Moves orders.
#[ergon::task(
    name = "move-orders",
    connectors(input, output, dlq, audit: Sink, both: Duplex, archive: ergon::connector::memory::Memory),
    services(crm, named: CrmService, rates: dyn Rates),
    consumer(
        concurrency = 16, batch_size = 100, prefetch = 10, mode = "batch", streaming, limit = 10_000, timeout = "1h",
        transaction_timeout = "none", empty_queue(backoff = "1s", backoff_multiplier = 2.0, backoff_cap = "30s"),
        fetch(max_attempts = 5, timeout = "30s"),
        process(max_attempts = 3, backoff = "1s", backoff_multiplier = 2, backoff_cap = "10s", timeout = "5s", jitter = 0.1),
        success(max_attempts = 2), exception = PATIENT,
        from = both, dead_letter = dlq, on_handler_failure = "reject", max_deliveries = 3, shutdown_grace = "5s",
    ),
)]
pub struct MoveOrders {
    #[init(7)]
    threshold: u32,
    seen: Vec<u32>,
}

impl Consumer for MoveOrders {
    type Payload = Value;
    type Output = f64;

    async fn process_transaction(&self, _order: &Transaction<Value>) -> Result<f64> {
        let archive: &Arc<ergon::connector::memory::Memory> = &self.archive_connector;
        assert!(Arc::strong_count(archive) > 0 && self.threshold == 7 && self.seen.is_empty());
        assert_eq!(self.crm_service.page_size + self.named_service.page_size, 20);
        Ok(self.rates_service.rate("EUR"))
    }
}

fn main() {
    let memory = || MemoryConfig::new("pass");
    let crm = || CrmServiceConfig { page_size: 10 };
    let config = MoveOrders::config(MoveOrdersWiring {
        input: memory(), output: memory(), dlq: memory(), audit: memory(), both: memory(), archive: memory(),
        crm: crm(), named: crm(), rates: FixedRatesConfig { rate: 1.5 },
    });
    assert_eq!(config.name(), "move-orders");
}
