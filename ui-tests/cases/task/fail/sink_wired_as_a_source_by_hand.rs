// errors: 1
use ergon::connector::{Connector, ConnectorError};
use ergon::prelude::*;

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
#[connector(sink)]
struct Printer {}

impl Sink for Printer {
    async fn dispatch(&self, _transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

fn config(printer: PrinterConfig) -> TaskConfig {
    Orders::config(OrdersWiring { input: printer, output: MemoryConfig::new("receipts") })
}

fn main() {}
