// errors: 1
use ergon::prelude::*;
use ergon::service::Service;

#[ergon::task(connectors(input, crm), services(crm: Crm))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

#[derive(Service)]
struct Crm {}

fn main() {}
