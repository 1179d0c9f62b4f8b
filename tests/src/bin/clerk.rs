//! A program for tests: its tasks read tables and call services, over CSV and Excel, which take nothing back, and over
//! HTTP.

use ergon::connector::{Connector, ConnectorError, Delivery, FetchRequest};
use ergon::prelude::*;
use ergon::service::Service;

/// An order whose fields do not have the types of cells.
#[derive(Debug, Deserialize, Serialize)]
struct Order {
    sku: String,
    quantity: u32,
    note: Option<String>,
}

/// Decides whether orders of zero pieces are accepted.
#[derive(Service)]
struct RuleService {
    #[service(default)]
    forgiving: bool,
}

macro_rules! takes_orders {
    ($name:ident) => {
        impl Consumer for $name {
            type Payload = Order;
            type Output = u32;

            async fn process_transaction(&self, order: &Transaction<Order>) -> Result<u32> {
                let Order { sku, quantity, .. } = order.payload();
                if *quantity == 0 && !self.rule_service.forgiving {
                    return Err(TransactionError::business(format!("{sku} was exported before")));
                }
                Ok(*quantity)
            }

            async fn handle_process_success(&self, order: &Transaction<Order>, _: &u32) -> Result<()> {
                self.output_connector.dispatch(order.derive(order.payload())?).await
            }
        }
    };
}

#[ergon::task(connectors(input, output, refused), services(rule), consumer(dead_letter = refused))]
struct CsvOrders;

takes_orders!(CsvOrders);

#[ergon::task(connectors(input, output, refused), services(rule), consumer(dead_letter = refused))]
struct ExcelOrders;

takes_orders!(ExcelOrders);

/// A service around a client, as most services are.
#[derive(Service)]
struct CrmService {
    #[service(service)]
    http: HttpService,
}

/// The same with its own `open`.
#[derive(Service)]
#[service(manual)]
struct VaultService {
    #[service(service)]
    http: HttpService,
}

impl Service for VaultService {}

/// A source that reads page by page.
#[derive(Connector)]
#[connector(source)]
struct Pages {
    #[connector(service)]
    http: HttpService,
}

impl Source for Pages {
    async fn fetch(&self, _: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        self.http.get("pages").send().await?;
        Ok(Vec::new())
    }
}

/// A task that asks a service for each of its transactions.
#[ergon::task(connectors(input), services(crm), consumer(concurrency = 1))]
struct CallCrm;

impl Consumer for CallCrm {
    type Payload = Value;
    type Output = ();

    async fn process_transaction(&self, _: &Transaction<Value>) -> Result<()> {
        self.crm_service.http.get("customers").send().await?;
        Ok(())
    }
}

/// The same on threads. Its calls run on the runtime.
#[ergon::task(blocking, connectors(input), consumer(concurrency = 1))]
struct CountCalls;

impl BlockingConsumer for CountCalls {
    type Payload = Value;
    type Output = ();

    fn process_transaction(&self, _: &Transaction<Value>) -> Result<()> {
        let policy = RetryPolicy { max_attempts: 3, ..RetryPolicy::DEFAULT };
        let mut calls = 0;
        ergon::run_fn_blocking(&policy, "count", || {
            calls += 1;
            if calls < 3 { Err(TransactionError::system("not yet")) } else { Ok(()) }
        })
    }
}

/// A task with only the connectors and services that `check` tests.
#[ergon::task(connectors(input), services(vault, openai))]
struct AskAll;

impl Consumer for AskAll {
    type Payload = Value;
    type Output = ();

    async fn process_transaction(&self, _: &Transaction<Value>) -> Result<()> {
        Ok(())
    }
}

/// The settings that the test writes into `ergon.toml`.
#[derive(Clone, Deserialize)]
struct Settings {
    csv: CsvConfig,
    excel: ExcelConfig,
    lines: JsonLinesConfig,
    taken: JsonLinesConfig,
    refused: JsonLinesConfig,
    rule: RuleServiceConfig,
    crm: CrmServiceConfig,
    vault: VaultServiceConfig,
    pages: PagesConfig,
    openai: OpenaiConfig,
}

ergon::main! {
    settings: Settings,
    tasks: [
        CsvOrders { input: csv, output: taken, refused: refused, rule: rule },
        ExcelOrders { input: excel, output: taken, refused: refused, rule: rule },
        CallCrm { input: lines, crm: crm },
        CountCalls { input: lines },
        AskAll { input: pages, vault: vault, openai: openai },
    ],
}
