// errors: 1
use ergon::connector::{Connector, ConnectorError, Delivery, FetchRequest};
use ergon::prelude::*;

#[derive(Clone, Deserialize)]
struct Settings {
    orders: MemoryConfig,
    receipts: ClockConfig,
}

#[ergon::task(connectors(input, output))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

#[derive(Connector)]
#[connector(source)]
struct Clock {}

impl Source for Clock {
    async fn fetch(&self, _request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        Ok(Vec::new())
    }
}

ergon::main! {
    settings: Settings,
    tasks: [Orders { input: orders, output: receipts }],
}
