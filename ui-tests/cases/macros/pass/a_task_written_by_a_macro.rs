// Several tasks that a macro defines; only the name of each task is written outside the macro.
use ergon::prelude::*;

macro_rules! copy {
    ($name:ident) => {
        #[ergon::task(connectors(input, output))]
        struct $name;

        impl Consumer for $name {
            type Payload = Value;
            type Output = ();

            async fn process_transaction(&self, value: &Transaction<Value>) -> Result<()> {
                self.output_connector.dispatch(value.forward()).await
            }
        }
    };
}

copy!(CopyOrders);
copy!(CopyReturns);

#[derive(Deserialize)]
struct Settings {
    orders: MemoryConfig,
    copies: MemoryConfig,
}

#[allow(dead_code)]
mod program {
    use super::*;

    ergon::main! {
        settings: Settings,
        tasks: [CopyOrders { input: orders, output: copies }, CopyReturns { input: orders, output: copies }],
    }
}

fn main() {}
