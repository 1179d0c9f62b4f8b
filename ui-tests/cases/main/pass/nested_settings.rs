use ergon::prelude::*;

#[derive(Clone, Deserialize)]
struct Connectors {
    orders: MemoryConfig,
}

#[derive(Deserialize)]
struct Settings {
    connectors: Connectors,
}

#[ergon::task(connectors(input))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

#[allow(dead_code)]
mod program {
    use super::*;

    ergon::main! {
        settings: Settings,
        tasks: [Orders { input: connectors.orders }],
    }
}

fn main() {}
