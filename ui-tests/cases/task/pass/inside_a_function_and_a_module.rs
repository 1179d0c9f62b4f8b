use ergon::prelude::*;

mod inner {
    use ergon::prelude::*;

    #[ergon::task(connectors(input))]
    pub(crate) struct Orders;

    impl Consumer for Orders {
        type Payload = String;
        type Output = ();
    
        async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
            Ok(())
        }
    }
    
}

fn main() {
    #[ergon::task(connectors(input))]
    struct Orders;

    impl Consumer for Orders {
        type Payload = String;
        type Output = ();
    
        async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
            Ok(())
        }
    }
    
    let wiring = OrdersWiring { input: MemoryConfig::new("pass") };
    assert_eq!(Orders::config(wiring).name(), "orders");
    let _ = inner::Orders::config(inner::OrdersWiring { input: MemoryConfig::new("pass") });
}
