mod tasks {
    use ergon::prelude::*;

    /// Documented.
    #[derive(Debug)]
    #[ergon::task(connectors(input), consumer())]
    pub(crate) struct Orders {
        pub(crate) limit: Option<u32>,
    }

    impl Consumer for Orders {
        type Payload = String;
        type Output = ();
    
        async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
            Ok(())
        }
    }
}

fn main() {
    let wiring = tasks::OrdersWiring { input: ergon::connector::memory::MemoryConfig::new("a") };
    assert_eq!(tasks::Orders::config(wiring).name(), "orders");
    fn is_debug<T: std::fmt::Debug>() {}
    is_debug::<tasks::Orders>();
    let _limit = |orders: &tasks::Orders| orders.limit;
}
