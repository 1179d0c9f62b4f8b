use ergon::prelude::*;

#[ergon::task(connectors(audit, input: Source), consumer(from = input, dead_letter = audit))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

fn main() {}
