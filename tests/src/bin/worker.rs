//! A worker for tests that kill it: takes messages of a queue, processes each for a while, and writes into the ledger.

use std::path::Path;
use std::time::Duration;

use ergon::prelude::*;
use ergon::service::{Service, ServiceConfig, ServiceError};
use ergon::transaction::Payload;
use ergon_tests::ledger::{Ledger, Outcome};

/// The ledger that all workers write.
struct Books {
    ledger: Ledger,
    /// The duration of one message.
    work: Duration,
}

impl Service for Books {}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct BooksConfig {
    folder: String,
    work_ms: u64,
}

impl ServiceConfig for BooksConfig {
    type Service = Books;

    fn build(&self) -> Result<Books, ServiceError> {
        let ledger = Ledger::open(Path::new(&self.folder));
        let ledger =
            ledger.map_err(|error| ServiceError::new("the ledger does not open").with_source(error))?;
        Ok(Books { ledger, work: Duration::from_millis(self.work_ms) })
    }
}

/// Copies each message to the output; messages whose id ends with 7 are rejected and dead-lettered. A message whose id
/// starts with `kills` ends the process.
#[ergon::task(
    connectors(input, output, dead),
    services(books: Books),
    consumer(streaming, batch_size = 8, success(max_attempts = 5, backoff = "50ms"), dead_letter = dead)
)]
struct Work;

impl Consumer for Work {
    type Payload = Payload;
    type Output = ();

    async fn process_transaction(&self, message: &Transaction<Payload>) -> Result<()> {
        let Books { ledger, work } = &*self.books_service;
        ledger.start(message.id(), message.deliveries());
        if message.id().starts_with("kills") {
            std::process::abort();
        }
        tokio::time::sleep(*work).await;
        if message.id().ends_with('7') { Err(TransactionError::business("it ends with 7")) } else { Ok(()) }
    }

    async fn handle_process_success(&self, message: &Transaction<Payload>, (): &()) -> Result<()> {
        self.output_connector.dispatch(message.forward()).await?;
        self.books_service.ledger.end(message.id(), message.deliveries(), Outcome::Succeeded);
        Ok(())
    }

    async fn handle_process_exception(
        &self,
        message: &Transaction,
        error: &TransactionError,
    ) -> Result<Disposition> {
        if error.category() != Category::Business {
            return Ok(Disposition::Requeue);
        }
        self.books_service.ledger.end(message.id(), message.deliveries(), Outcome::Failed);
        Ok(Disposition::Reject)
    }
}

/// The settings that the test writes into `ergon.toml`.
#[derive(Clone, Deserialize)]
struct Settings {
    input: RabbitMqConfig,
    output: RabbitMqConfig,
    dead: RabbitMqConfig,
    books: BooksConfig,
}

ergon::main! {
    settings: Settings,
    tasks: [Work { input: input, output: output, dead: dead, books: books }],
}
