use ergon::prelude::*;

#[ergon::task(connectors(input), consumer(concurrency = 2))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

fn main() {
    let config: TaskConfig = Orders::config(OrdersWiring { input: MemoryConfig::new("orders") })
        .workers(8)
        .consumer(|policy| {
            policy.concurrency = 16;
            policy.process.max_attempts = 3;
        });
    assert_eq!(config.name(), "orders");
}
