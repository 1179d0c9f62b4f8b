// errors: 1
use ergon::prelude::*;

#[derive(Clone, Deserialize)]
struct Settings {
    orders: MemoryConfig,
    receipts: MemoryConfig,
}

#[ergon::task(connectors(input, output), producer(concurrency = 2), consumer(concurency = 8), blocking)]
struct Orders;

impl BlockingConsumer for Orders {
    type Payload = String;
    type Output = Vec<Transaction>;

    fn process_transaction(&self, order: &Transaction<String>) -> Result<Vec<Transaction>> {
        assert!(self.consumer_policy.concurrency > self.producer_policy.concurrency);
        Ok(vec![order.forward()])
    }
}

impl BlockingProducer for Orders {
    type Payload = String;
    type Output = ();

    fn prepare_transaction(&self, order: &Transaction<String>) -> Result<()> {
        self.output_connector.blocking_dispatch(order.forward())
    }
}

ergon::main! {
    settings: Settings,
    tasks: [Orders { input: orders, output: receipts }],
}
