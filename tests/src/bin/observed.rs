//! A program for tests of telemetry: each line says how its transaction ends.

#![allow(clippy::panic, reason = "a handler that panics is tested")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ergon::prelude::*;
use tracing::Instrument;

/// A transaction whose payload says how it ends.
#[derive(Debug, Deserialize, Serialize)]
struct Line {
    goes: String,
}

/// A consumer that dispatches successful transactions.
#[ergon::task(
    connectors(input, output),
    consumer(process(max_attempts = 2, timeout = "300ms", backoff = "1ms"))
)]
struct Observe {
    failed_before: AtomicBool,
}

impl Observe {
    async fn go(&self, line: &Line) -> Result<()> {
        match line.goes.as_str() {
            "well" => look_up().instrument(tracing::info_span!("lookup", customer = "c-1")).await,
            "on-the-second-attempt" if !self.failed_before.swap(true, Ordering::Relaxed) => {
                return Err(TransactionError::system("the warehouse did not answer"));
            }
            "wrong" => return Err(TransactionError::business("there is no such article")),
            "slowly" => tokio::time::sleep(Duration::from_millis(20)).await,
            "too-long" => tokio::time::sleep(Duration::from_secs(60)).await,
            "panics" => std::panic::panic_any("the cupboard was bare"),
            _ => {}
        }
        Ok(())
    }
}

async fn look_up() {
    tokio::task::yield_now().await;
    tracing::info!("looked up");
}

impl Consumer for Observe {
    type Payload = Line;
    type Output = ();

    async fn process_transaction(&self, line: &Transaction<Line>) -> Result<()> {
        tracing::info!("begun");
        ergon::spawn(async { tracing::info!("beside it") }).await.system()?;
        self.go(line.payload()).await
    }

    async fn handle_process_success(&self, line: &Transaction<Line>, (): &()) -> Result<()> {
        self.output_connector.dispatch(line.derive(line.payload())?).await
    }

    async fn handle_process_exception(&self, _: &Transaction, _: &TransactionError) -> Result<Disposition> {
        Ok(Disposition::Ack)
    }
}

/// The same on threads. A line may wait until the file `gate` exists.
#[ergon::task(connectors(input), consumer, blocking)]
struct Threads;

impl BlockingConsumer for Threads {
    type Payload = Line;
    type Output = ();

    fn process_transaction(&self, line: &Transaction<Line>) -> Result<()> {
        tracing::info!("on a thread");
        while line.payload().goes == "gate" && !Path::new("gate").exists() {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// A hybrid that makes two transactions of each.
#[ergon::task(connectors(input, output), consumer, producer)]
struct Relay;

impl Consumer for Relay {
    type Payload = Line;
    type Output = Vec<Transaction>;

    async fn process_transaction(&self, line: &Transaction<Line>) -> Result<Vec<Transaction>> {
        Ok(vec![line.derive(line.payload())?, line.derive(line.payload())?])
    }
}

impl Producer for Relay {
    type Payload = Line;
    type Output = ();

    async fn prepare_transaction(&self, _: &Transaction<Line>) -> Result<()> {
        Ok(())
    }

    async fn handle_prepare_success(&self, line: &Transaction<Line>, (): &()) -> Result<()> {
        self.output_connector.dispatch(line.forward()).await
    }
}

/// Dispatches each line to another task of this process.
#[ergon::task(connectors(input, output), consumer)]
struct Hand;

impl Consumer for Hand {
    type Payload = Line;
    type Output = ();

    async fn process_transaction(&self, _: &Transaction<Line>) -> Result<()> {
        Ok(())
    }

    async fn handle_process_success(&self, line: &Transaction<Line>, (): &()) -> Result<()> {
        self.output_connector.dispatch(line.forward()).await
    }
}

/// Consumes the dispatched lines until it is stopped.
#[ergon::task(connectors(input), consumer(streaming))]
struct Take;

impl Consumer for Take {
    type Payload = Line;
    type Output = ();

    async fn process_transaction(&self, _: &Transaction<Line>) -> Result<()> {
        Ok(())
    }
}

/// Reads messages whose payloads should be lines.
#[ergon::task(connectors(input), consumer)]
struct Strict;

impl Consumer for Strict {
    type Payload = Line;
    type Output = ();

    async fn process_transaction(&self, _: &Transaction<Line>) -> Result<()> {
        Ok(())
    }
}

/// Writes the content of a message into the log, in every possible way.
#[ergon::task(connectors(input), consumer)]
struct Raw;

impl Consumer for Raw {
    type Payload = Bytes;
    type Output = ();

    async fn process_transaction(&self, message: &Transaction<Bytes>) -> Result<()> {
        let bytes = message.payload();
        let text = String::from_utf8_lossy(bytes);
        tracing::info!(?bytes, %text, "raw {text}");
        async { tracing::info!("in a span of it") }.instrument(tracing::info_span!("looked at", %text)).await;
        Err(TransactionError::business(format!("refused: {text}")))
    }
}

#[derive(Clone, Deserialize)]
struct Settings {
    lines: JsonLinesConfig,
    copies: JsonLinesConfig,
    handed: MemoryConfig,
    queue: RabbitMqConfig,
}

ergon::main! {
    settings: Settings,
    tasks: [
        Observe { input: lines, output: copies },
        Threads { input: lines },
        Relay { input: lines, output: copies },
        Hand { input: lines, output: handed },
        Take { input: handed },
        Strict { input: queue },
        Raw { input: queue },
    ],
}
