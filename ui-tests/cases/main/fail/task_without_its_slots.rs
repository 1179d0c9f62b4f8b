// errors: 1
use ergon::prelude::*;

#[derive(Deserialize)]
struct Settings {}

#[ergon::task(connectors(input))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

ergon::main! {
    settings: Settings,
    tasks: [Orders],
}
