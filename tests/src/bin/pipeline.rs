//! A small program for tests of real processes: copies lines, and waits at a gate that the test opens.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ergon::connector::json_lines::JsonLines;
use ergon::connector::prelude::*;
use ergon::prelude::*;
use ergon::service::Service;

/// A line to copy, or to fail at.
#[derive(Debug, Deserialize, Serialize)]
struct Line {
    n: u32,
    #[serde(default)]
    fails: bool,
}

/// Holds back every transaction until the file `gate` exists. An empty name is an open gate.
#[derive(Service)]
struct GateService {
    #[service(default)]
    gate: String,
    #[service(default)]
    arrived: String,
}

impl GateService {
    /// Records the arrival of the process, and waits until the gate opens.
    async fn pass(&self) -> Result<()> {
        if self.gate.is_empty() {
            return Ok(());
        }
        let arrived = std::fs::File::options().create(true).append(true).open(&self.arrived);
        let process = format!("{}\n", std::process::id());
        arrived.and_then(|mut file| file.write_all(process.as_bytes())).system()?;
        while !Path::new(&self.gate).exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}

#[ergon::task(connectors(input, output), services(gate), consumer(concurrency = 2, batch_size = 4))]
struct CopyLines;

impl Consumer for CopyLines {
    type Payload = Line;
    type Output = u32;

    async fn process_transaction(&self, line: &Transaction<Line>) -> Result<u32> {
        self.gate_service.pass().await?;
        let Line { n, fails } = line.payload();
        tracing::info!(n, "copying");
        ergon::run_fn(&RetryPolicy::DEFAULT, "inner", || async {
            tracing::info!("inside");
            Ok(())
        })
        .await?;
        if *fails { Err(TransactionError::business("this line fails")) } else { Ok(n * 2) }
    }

    async fn handle_process_success(&self, line: &Transaction<Line>, _double: &u32) -> Result<()> {
        self.output_connector.dispatch(line.forward()).await?;
        note("PIPELINE_CONFIRMED", [line.payload().n]).system()
    }

    async fn handle_process_exception(
        &self,
        _line: &Transaction,
        error: &TransactionError,
    ) -> Result<Disposition> {
        match std::env::var_os("PIPELINE_HANDLER_FAILS") {
            Some(_) => Err(TransactionError::system("the handler fails as well")),
            None if error.category() == Category::Business => Ok(Disposition::Reject),
            None => Ok(Disposition::Requeue),
        }
    }
}

/// Adds numbers to the file that an environment variable names, if it is set.
fn note(variable: &str, numbers: impl IntoIterator<Item = u32>) -> std::io::Result<()> {
    let Some(path) = std::env::var_os(variable) else { return Ok(()) };
    let lines: Vec<String> = numbers.into_iter().map(|n| format!("{n}\n")).collect();
    let text = lines.concat();
    std::fs::File::options().create(true).append(true).open(path)?.write_all(text.as_bytes())
}

/// Reads lines, and records the numbers of acknowledged lines.
struct NotingLines {
    lines: JsonLines,
    /// The number of each delivery, by its tag.
    numbers: Mutex<HashMap<u64, u32>>,
}

#[derive(Clone, Deserialize)]
#[serde(transparent)]
struct NotingLinesConfig(JsonLinesConfig);

impl ConnectorConfig for NotingLinesConfig {
    type Connector = NotingLines;

    fn build(&self, context: &Context) -> Result<NotingLines, ConnectorError> {
        Ok(NotingLines { lines: self.0.build(context)?, numbers: Mutex::default() })
    }
}

impl Connector for NotingLines {
    const KIND: &'static str = JsonLines::KIND;

    async fn open(&self) -> Result<(), ConnectorError> {
        self.lines.open().await
    }

    async fn close(&self) -> Result<(), ConnectorError> {
        self.lines.close().await
    }
}

impl Source for NotingLines {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        let deliveries = self.lines.fetch(request).await?;
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut noted = |delivery: Delivery| {
            let (transaction, receipt) = delivery.into_parts();
            if let Ok(Line { n, .. }) = transaction.decode() {
                numbers.insert(receipt.tag(), n);
            }
            Delivery::new(transaction, receipt)
        };
        Ok(deliveries.into_iter().map(&mut noted).collect())
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        let is_acked = |settlement: &&Settlement| settlement.disposition() == Disposition::Ack;
        let acked: Vec<u32> = {
            let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
            let number = |settlement: &Settlement| numbers.get(&settlement.receipt().tag()).copied();
            settlements.iter().filter(is_acked).filter_map(number).collect()
        };
        note("PIPELINE_ACKNOWLEDGED", acked)
            .map_err(|error| ConnectorError::transient("not noted").with_source(error))?;
        self.lines.settle(settlements).await
    }

    fn reads_from(&self) -> Vec<Endpoint> {
        self.lines.reads_from()
    }
}

/// The settings that the test writes into `ergon.toml`.
#[derive(Clone, Deserialize)]
struct Settings {
    lines: JsonLinesConfig,
    copies: JsonLinesConfig,
    gate: GateServiceConfig,
}

/// Wires the task by hand, with a change of its policy.
fn copy_lines(settings: &Settings) -> TaskConfig {
    let Settings { lines, copies, gate } = settings.clone();
    let config = if std::env::var_os("PIPELINE_ACKNOWLEDGED").is_some() {
        CopyLines::config(CopyLinesWiring { input: NotingLinesConfig(lines), output: copies, gate })
    } else {
        CopyLines::config(CopyLinesWiring { input: lines, output: copies, gate })
    };
    config.consumer(|policy| policy.success.max_attempts = 2)
}

ergon::main! {
    settings: Settings,
    tasks: [copy_lines],
}
