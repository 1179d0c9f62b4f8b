//! Uses every macro in a crate that knows `ergon` as `engine`, because the macros ask Cargo for the name. The crate is
//! linted as all other code, so that the generated code triggers no lint of a user.

use std::sync::{Arc, Mutex};

use engine::connector::prelude::*;
use engine::prelude::*;
use engine::service::Service;
use engine::{Error, ErrorKind};
use futures_util::stream;

const PATIENT: RetryPolicy = RetryPolicy { max_attempts: 5, ..RetryPolicy::DEFAULT };

/// Talks to Acme.
#[derive(Debug, Service)]
pub struct AcmeClient {
    /// The address of Acme.
    #[service(default = "https://acme.example".to_owned())]
    url: String,
}

/// Adapts Acme.
#[derive(Debug, Connector)]
#[connector(source, sink)]
pub struct Acme {
    #[connector(service)]
    client: Arc<AcmeClient>,
    #[connector(default)]
    page_size: Option<usize>,
    #[connector(skip)]
    cursor: Mutex<usize>,
}

impl Source for Acme {
    async fn fetch(&self, _request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        let mut cursor = self.cursor.lock().map_err(|_| ConnectorError::permanent("the cursor is lost"))?;
        *cursor += self.page_size.unwrap_or(self.client.url.len());
        Ok(Vec::new())
    }
}

impl Sink for Acme {
    async fn dispatch(&self, _transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

/// The errors of an order.
#[derive(Debug, thiserror::Error, TransactionError)]
#[system]
pub enum OrderError {
    /// It is wrong.
    #[error("order {0} is wrong")]
    #[business]
    Wrong(String),
    /// The warehouse is silent.
    #[error("the warehouse is silent")]
    Silent,
    /// A part of it failed.
    #[error("a part failed")]
    #[transparent]
    Part(#[from] PartError),
}

/// The errors of a part.
#[derive(Debug, thiserror::Error, TransactionError)]
#[error("no part")]
#[timeout(retry_after = "5s")]
pub struct PartError;

/// Splits orders.
#[derive(Debug)]
#[engine::task(
    connectors(input, output, archive: Acme),
    services(acme: AcmeClient),
    consumer(concurrency = 2, exception = PATIENT),
    producer(prepare(max_attempts = 2), dead_letter = output),
    workers = 2
)]
pub struct SplitOrders {
    #[init(3)]
    most: usize,
}

impl Consumer for SplitOrders {
    type Payload = Vec<String>;
    type Output = Vec<Transaction>;

    async fn process_transaction(&self, order: &Transaction<Vec<String>>) -> Result<Vec<Transaction>> {
        if order.payload().len() > self.most || self.acme_service.url.is_empty() {
            return Err(OrderError::Wrong(order.id().to_owned()).into());
        }
        order.payload().iter().map(|line| order.derive(line)).collect()
    }
}

impl Producer for SplitOrders {
    type Payload = String;
    type Output = usize;

    async fn prepare_transaction(&self, line: &Transaction<String>) -> Result<usize> {
        stock(line.payload(), line.payload().clone()).await
    }

    async fn handle_prepare_success(&self, line: &Transaction<String>, stock: &usize) -> Result<()> {
        self.output_connector.dispatch(line.derive(stock)?).await
    }
}

#[engine::run_fn(max_attempts = 3, backoff = "1s", timeout = "5s")]
async fn stock(sku: &str, mut owned: String) -> Result<usize> {
    owned.push_str(sku);
    std::future::ready(()).await;
    Ok(owned.len())
}

#[engine::run_fn(policy = PATIENT)]
fn parse(text: &str) -> Result<u32> {
    text.parse().business()
}

/// Parses numbers.
#[engine::task(connectors(input), blocking)]
#[derive(Debug)]
pub struct Parse;

impl BlockingConsumer for Parse {
    type Payload = String;
    type Output = u32;

    fn process_transaction(&self, text: &Transaction<String>) -> Result<u32> {
        parse(text.payload())
    }
}

/// Produces once.
#[engine::task(connectors(output), producer(), execute)]
#[derive(Debug)]
pub struct Once;

impl Producer for Once {
    type Payload = u32;
    type Output = ();

    async fn prepare_transaction(&self, number: &Transaction<u32>) -> Result<()> {
        self.output_connector.dispatch(number.forward()).await
    }
}

impl Execute for Once {
    async fn execute(&self, run: &Run) -> Result<()> {
        run.produce(self, stream::iter([Transaction::typed("one", 1)]), &self.producer_policy).await?;
        Ok(())
    }
}

/// The settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// The source of orders.
    pub orders: MemoryConfig,
    acme: AcmeConfig,
    client: AcmeClientConfig,
}

/// Wires a task by hand.
///
/// # Errors
/// There are no orders.
pub fn split_orders(settings: &Settings) -> Result<TaskConfig, Error> {
    if settings.client.url.is_empty() {
        return Err(Error::new(ErrorKind::Settings, "Acme is nowhere"));
    }
    let Settings { orders, acme, client } = settings.clone();
    Ok(SplitOrders::config(SplitOrdersWiring {
        input: orders.clone(),
        output: orders,
        archive: acme,
        acme: client,
    }))
}
