//! A program for tests: its tasks reject transactions, over files, over queues, and over standard input, which takes
//! nothing back.

use ergon::prelude::*;
use ergon::service::Service;

/// An order.
#[derive(Debug, Deserialize, Serialize)]
struct Order {
    sku: String,
    quantity: u32,
}

/// Decides whether orders of zero pieces are accepted.
#[derive(Service)]
struct RuleService {
    #[service(default)]
    forgiving: bool,
}

impl RuleService {
    fn check(&self, order: &Order) -> Result<u32> {
        if order.quantity == 0 && !self.forgiving {
            return Err(TransactionError::business(format!("no {} is ordered", order.sku)));
        }
        Ok(order.quantity)
    }
}

macro_rules! prices {
    ($name:ident) => {
        impl Consumer for $name {
            type Payload = Order;
            type Output = u32;

            async fn process_transaction(&self, order: &Transaction<Order>) -> Result<u32> {
                self.rule_service.check(order.payload())
            }

            async fn handle_process_success(&self, order: &Transaction<Order>, _: &u32) -> Result<()> {
                self.output_connector.dispatch(order.forward()).await
            }
        }
    };
}

#[ergon::task(connectors(input, output, refused), services(rule), consumer(dead_letter = refused))]
struct FileOrders;

prices!(FileOrders);

#[ergon::task(connectors(input, output, refused), services(rule), consumer(dead_letter = refused))]
struct QueueOrders;

prices!(QueueOrders);

#[ergon::task(connectors(input, output, refused), services(rule), consumer(dead_letter = refused))]
struct QueueToFile;

prices!(QueueToFile);

#[ergon::task(connectors(input, output, refused), services(rule), consumer(dead_letter = refused))]
struct StreamOrders;

prices!(StreamOrders);

/// A task without a dead-letter connector.
#[ergon::task(connectors(input), consumer())]
struct LooseOrders;

impl Consumer for LooseOrders {
    type Payload = Order;
    type Output = ();

    async fn process_transaction(&self, _: &Transaction<Order>) -> Result<()> {
        Ok(())
    }
}

/// The settings that the test writes into `ergon.toml`.
#[derive(Clone, Deserialize)]
struct Settings {
    orders: JsonLinesConfig,
    priced: JsonLinesConfig,
    refused: JsonLinesConfig,
    stream: JsonLinesConfig,
    order_queue: RabbitMqConfig,
    refused_queue: RabbitMqConfig,
    rule: RuleServiceConfig,
}

ergon::main! {
    settings: Settings,
    tasks: [
        FileOrders { input: orders, output: priced, refused: refused, rule: rule },
        QueueOrders { input: order_queue, output: priced, refused: refused_queue, rule: rule },
        QueueToFile { input: order_queue, output: priced, refused: refused, rule: rule },
        StreamOrders { input: stream, output: priced, refused: refused, rule: rule },
        LooseOrders { input: orders },
    ],
}
