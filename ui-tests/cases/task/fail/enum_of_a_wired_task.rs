// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input, output))]
pub enum Orders {
    First,
    Second(u8),
}

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, order: &Transaction<String>) -> Result<()> {
        self.output_connector.dispatch(order.forward()).await
    }
}

impl Orders {
    fn number(&self) -> u8 {
        match self {
            Self::First => 1,
            Orders::Second(number) => *number,
        }
    }
}

#[derive(Deserialize)]
struct Settings {
    orders: MemoryConfig,
    receipts: MemoryConfig,
}

ergon::main! {
    settings: Settings,
    tasks: [Orders { input: orders, output: receipts }],
}
