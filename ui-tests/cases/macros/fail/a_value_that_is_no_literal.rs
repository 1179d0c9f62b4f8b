// errors: 2
use ergon::prelude::*;

macro_rules! copy {
    ($name:ident, $count:expr, $timeout:expr) => {
        #[ergon::task(connectors(input), consumer(concurrency = $count, timeout = $timeout))]
        struct $name;

        impl Consumer for $name {
            type Payload = Value;
            type Output = ();

            async fn process_transaction(&self, _value: &Transaction<Value>) -> Result<()> {
                Ok(())
            }
        }
    };
}

copy!(CopyOrders, 4 * 2, concat!("1", "h"));

fn main() {}
