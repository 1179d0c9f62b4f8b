// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input output))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        let _: (&Input, &Output) = (&self.input_connector, &self.output_connector);
        Ok(())
    }
}

fn main() {}
