//! A task whose steps are closures of the test, and the source, dead-letter connector and policy of its runs.

use std::fmt;
use std::sync::{Arc, Mutex};

use ergon::Error;
use ergon::prelude::*;
use ergon::service::ServiceConfig;
use ergon::service::{Service, ServiceError};
use ergon::telemetry::RunReport;
use ergon::testing::{self, Running};
use ergon::transaction::Payload;
use futures_util::future::BoxFuture;

use crate::FlakyConfig;

type Step<A, R> = Arc<dyn Fn(A) -> BoxFuture<'static, Result<R>> + Send + Sync>;

/// The behaviour of a [`Probe`]'s steps; injected as a service.
#[derive(Clone)]
pub struct Script {
    process: Step<Transaction, String>,
    success: Step<Transaction, ()>,
    exception: Step<(Transaction, String), Disposition>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Service for Script {}

impl ServiceConfig for Script {
    type Service = Self;

    fn build(&self) -> Result<Self, ServiceError> {
        Ok(self.clone())
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

/// A consumer that follows its script, and records each call.
#[ergon::task(connectors(input, letters), services(script: Script), consumer())]
pub struct Probe;

impl Probe {
    fn log(&self, step: &str, transaction: &Transaction) {
        let line = format!("{step} {}", transaction.id());
        self.script_service.log.lock().expect("unpoisoned").push(line);
    }
}

impl Consumer for Probe {
    type Payload = Payload;
    type Output = String;

    async fn process_transaction(&self, transaction: &Transaction<Payload>) -> Result<String> {
        self.log("process", transaction);
        (self.script_service.process)(transaction.clone()).await
    }

    async fn handle_process_success(
        &self,
        transaction: &Transaction<Payload>,
        _output: &String,
    ) -> Result<()> {
        self.log("success", transaction);
        (self.script_service.success)(transaction.clone()).await
    }

    async fn handle_process_exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> Result<Disposition> {
        self.log(&format!("exception:{}", error.category()), transaction);
        (self.script_service.exception)((transaction.clone(), error.message().to_owned())).await
    }
}

/// A source, a dead-letter connector, a script and a policy: everything that a run needs.
#[derive(Debug, Clone)]
pub struct World {
    /// The source.
    pub input: FlakyConfig,
    /// The dead-letter connector, if the policy names `letters`.
    pub letters: FlakyConfig,
    script: Script,
    policy: ConsumerPolicy,
}

impl World {
    /// Starts with an empty source, steps that succeed, and the default policy.
    pub fn new() -> Self {
        let script = Script {
            process: Arc::new(|transaction| Box::pin(async move { Ok(transaction.id().to_owned()) })),
            success: Arc::new(|_| Box::pin(async { Ok(()) })),
            exception: Arc::new(|_| Box::pin(async { Ok(Disposition::Reject) })),
            log: Arc::default(),
        };
        let policy = ConsumerPolicy::DEFAULT;
        Self { input: FlakyConfig::new(), letters: FlakyConfig::new(), script, policy }
    }

    /// Starts with transactions `0`, `1`, … in the source.
    pub fn with(count: usize) -> Self {
        let world = Self::new();
        world.push((0..count).map(|n| n.to_string()));
        world
    }

    /// Puts transactions with these ids into the source.
    pub fn push<I: AsRef<str>>(&self, ids: impl IntoIterator<Item = I>) {
        let make = |id: I| Transaction::builder().id(id.as_ref()).payload(Payload::text("body")).build();
        self.input.queue.extend(ids.into_iter().map(make));
    }

    /// Sets the behaviour of `process_transaction`.
    #[must_use]
    pub fn process<F>(mut self, f: impl Fn(Transaction) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.script.process = Arc::new(move |transaction| {
            let done = f(transaction);
            Box::pin(async move { done.await.map(|()| String::new()) })
        });
        self
    }

    /// Sets the behaviour of `handle_process_success`.
    #[must_use]
    pub fn success<F>(mut self, f: impl Fn(Transaction) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.script.success = Arc::new(move |transaction| Box::pin(f(transaction)));
        self
    }

    /// Sets the behaviour of `handle_process_exception`, which receives the error's message.
    #[must_use]
    pub fn exception<F>(mut self, f: impl Fn((Transaction, String)) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Disposition>> + Send + 'static,
    {
        self.script.exception = Arc::new(move |failed| Box::pin(f(failed)));
        self
    }

    /// Changes the policy.
    #[must_use]
    pub fn policy(mut self, change: impl FnOnce(&mut ConsumerPolicy)) -> Self {
        change(&mut self.policy);
        self
    }

    /// Runs the task to its end.
    pub async fn run(&self) -> RunReport {
        testing::run(self.config()).await.expect("the task is built and closed")
    }

    /// Starts the task.
    pub async fn start(&self) -> Running {
        testing::start(self.config()).await.expect("the task is built")
    }

    /// Tries to start the task.
    ///
    /// # Errors
    /// The errors of the parts that could not be built.
    pub async fn try_start(&self) -> Result<Running, Error> {
        testing::start(self.config()).await
    }

    /// The calls of the steps so far: `process 0`, `exception:business 0`, ….
    pub fn log(&self) -> Vec<String> {
        self.script.log.lock().expect("unpoisoned").clone()
    }

    fn config(&self) -> TaskConfig {
        let wiring = ProbeWiring {
            input: self.input.clone(),
            letters: self.letters.clone(),
            script: self.script.clone(),
        };
        Probe::config(wiring).consumer(|policy| *policy = self.policy.clone())
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
