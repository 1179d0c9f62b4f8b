use ergon::prelude::*;

#[ergon::task(connectors(input), consumer(timeout = "1h 30m", transaction_timeout = "none", shutdown_grace = "2s 500ms", empty_queue(backoff = "50ms", backoff_multiplier = 1, backoff_cap = "1s"), process(timeout = "1us", backoff = "0s", jitter = 1)))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

fn main() {}
