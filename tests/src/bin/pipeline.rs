//! A small program for tests of real processes: copies lines, and waits at a gate that the test opens.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use ergon::prelude::*;
use ergon::service::Service;

/// A line to copy, or to fail at.
#[derive(Debug, Deserialize, Serialize)]
struct Line {
    n: u32,
    #[serde(default)]
    fails: bool,
}

/// Holds back every transaction until the file `gate` is there; an empty name is an open gate.
#[derive(Service)]
struct GateService {
    #[service(default)]
    gate: String,
    #[service(default)]
    arrived: String,
}

impl GateService {
    /// Adds the process to those that have arrived, and waits to be let through.
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
        if let Some(confirmed) = std::env::var_os("PIPELINE_CONFIRMED") {
            let file = std::fs::File::options().create(true).append(true).open(confirmed);
            file.and_then(|mut file| file.write_all(format!("{}\n", line.payload().n).as_bytes()))
                .system()?;
        }
        Ok(())
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

/// What the test writes into `ergon.toml`.
#[derive(Clone, Deserialize)]
struct Settings {
    lines: JsonLinesConfig,
    copies: JsonLinesConfig,
    gate: GateServiceConfig,
}

/// Wires the task by hand, with a change of its policy.
fn copy_lines(settings: &Settings) -> TaskConfig {
    let Settings { lines, copies, gate } = settings.clone();
    let config = CopyLines::config(CopyLinesWiring { input: lines, output: copies, gate });
    config.consumer(|policy| policy.success.max_attempts = 2)
}

ergon::main! {
    settings: Settings,
    tasks: [copy_lines],
}
