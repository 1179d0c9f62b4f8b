// Names, slots, keys, values, types, attributes and visibility are arguments of the macro, as every kind of fragment.
use ergon::connector::{Connector, ConnectorError};
use ergon::prelude::*;
use ergon::task::Task;
use ergon::service::Service;

#[derive(Connector)]
#[connector(sink)]
pub struct Archive {
    #[connector(default)]
    folder: String,
}

impl Sink for Archive {
    async fn dispatch(&self, _transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        assert!(!self.folder.is_empty());
        Ok(())
    }
}

#[derive(Service)]
pub struct Crm {
    url: String,
}

pub trait Rates: Send + Sync {
    fn rate(&self) -> u32;
}

#[derive(Service)]
pub struct FixedRates {
    rate: u32,
}

impl Rates for FixedRates {
    fn rate(&self) -> u32 {
        self.rate
    }
}

const PATIENT: RetryPolicy = RetryPolicy { max_attempts: 5, ..RetryPolicy::DEFAULT };

macro_rules! priced {
    (
        $(#[$meta:meta])* $visibility:vis $name:ident as $task:literal,
        $source:ident -> $sink:ident, $refused:ident: $role:ty, $archive:ident: $connector:ty,
        $crm:ident: $service:ty, $rates:ident: $object:ty,
        $key:ident = $count:literal, $timeout:literal, $attempts:expr, $policy:expr, $dead_letter:expr, $workers:expr,
        $field:ident: $ty:ty = $init:expr,
        $payload:ty => $output:ty, $body:expr
    ) => {
        $(#[$meta])*
        #[ergon::task(
            name = $task,
            connectors($source, $sink, $refused: $role, $archive: $connector),
            services($crm: $service, $rates: $object),
            consumer(
                $key = $count, timeout = $timeout, process(max_attempts = $attempts, timeout = "5s"),
                success = $policy, dead_letter = $dead_letter,
            ),
            workers = $workers,
        )]
        $visibility struct $name {
            #[init($init)]
            $field: $ty,
        }

        impl Consumer for $name {
            type Payload = $payload;
            type Output = $output;

            async fn process_transaction(&self, order: &Transaction<$payload>) -> Result<$output> {
                let body: fn(&Self, &$payload) -> $output = $body;
                Ok(body(self, order.payload()))
            }

            async fn handle_process_success(&self, order: &Transaction<$payload>, output: &$output) -> Result<()> {
                self.out_connector.dispatch(order.derive(output)?).await
            }
        }
    };
}

priced! {
    /// Prices orders.
    #[must_use]
    pub(crate) PriceOrders as "price-them",
    orders -> out, dlq: Sink, archive: Archive,
    crm: Crm, rates: dyn Rates,
    concurrency = 8, "1h", 3, PATIENT, dlq, 2,
    factor: u32 = 1 + 2,
    u32 => u32, |task, order| order * task.factor * task.rates_service.rate() + task.crm_service.url.len() as u32
}

fn config(memory: MemoryConfig, archive: ArchiveConfig, crm: CrmConfig, rates: FixedRatesConfig) -> TaskConfig {
    PriceOrders::config(PriceOrdersWiring {
        orders: memory.clone(),
        out: memory.clone(),
        dlq: memory,
        archive,
        crm,
        rates,
    })
}

fn main() {
    let _ = config;
    assert_eq!(PriceOrders::NAME, "price-them");
}
