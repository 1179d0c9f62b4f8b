// errors: 4
use ergon::prelude::*;

#[ergon::task(conectors(input), name = 3, consumer(concurrency = 0, process(max_attempt = 3)))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

fn main() {}
