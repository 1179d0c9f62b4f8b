#![deny(warnings, missing_docs, clippy::pedantic, unreachable_pub, unused_qualifications, missing_debug_implementations)]
#![deny(rust_2018_idioms, elided_lifetimes_in_paths, single_use_lifetimes, trivial_casts, unused_results, unsafe_code)]
//! The generated code triggers no lint of the user's crate.

use ergon::prelude::*;

#[derive(Debug)]
#[ergon::task(name = "orders", connectors(input, output, dlq), consumer(process(max_attempts = 3), dead_letter = dlq), workers = 2)]
struct Orders {
    limit: u32,
}

impl Consumer for Orders {
    type Payload = String;
    type Output = u32;

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<u32> {
        Ok(self.limit)
    }
}

#[ergon::run_fn(max_attempts = 2)]
async fn stock(sku: String) -> Result<usize> {
    std::future::ready(()).await;
    Ok(sku.len())
}

fn main() {
    let (input, output) = (MemoryConfig::new("a"), MemoryConfig::new("b"));
    let config = Orders::config(OrdersWiring { input, output, dlq: MemoryConfig::new("c") });
    assert_eq!(config.name(), "orders");
    drop(stock(String::new()));
}
