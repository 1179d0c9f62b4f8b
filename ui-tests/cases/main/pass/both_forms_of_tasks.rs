use ergon::prelude::*;

#[derive(Clone, Deserialize)]
struct Settings {
    orders: MemoryConfig,
    receipts: MemoryConfig,
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

mod tasks {
    use ergon::prelude::*;

    #[ergon::task(name = "others", connectors(input))]
    pub(crate) struct Others;

    impl Consumer for Others {
        type Payload = String;
        type Output = ();
    
        async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
            Ok(())
        }
    }
    
    pub(crate) fn config(settings: &super::Settings) -> Result<TaskConfig> {
        Ok(Others::config(OthersWiring { input: settings.orders.clone() }))
    }
}

#[allow(dead_code)]
mod program {
    use super::*;

    ergon::main! {
        settings: Settings,
        tasks: [Orders { input: orders, output: receipts }, tasks::config],
    }
}

fn main() {}
