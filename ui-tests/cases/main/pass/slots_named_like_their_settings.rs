use ergon::prelude::*;

#[derive(Clone, Deserialize)]
struct Settings {
    input: MemoryConfig,
    output: MemoryConfig,
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

#[allow(dead_code)]
mod program {
    use super::*;

    ergon::main! {
        settings: Settings,
        tasks: [Orders { input, output }],
    }
}

fn main() {}
