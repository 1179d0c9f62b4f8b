//! The roles of a task: what generated code makes a config of, and how each is run.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::time::Instant;

use super::consume::{self, RunState, consume};
use super::execute::{Execute, ExecuteTask};
use super::produce::{Pull, produce};
use super::single::{self, Given};
use super::steps::{
    BlockingConsuming, BlockingHybrid, BlockingProducing, Consuming, Hybrid, Producing, Steps,
};
use super::terms::RunContext;
use crate::error::Error;
use crate::policy::{ConsumerPolicy, Policies, ProducerPolicy};
use crate::task::{
    BlockingConsumer, BlockingProducer, Consumer, Form, Outbound, Parts, Producer, Program, Runnable, Setup,
    Task, TaskConfig,
};
use crate::telemetry::{Ended, RunReport, SingleReport, Tally};
use crate::transaction::{Result, Transaction, panic};

/// How the output of the first step is shown by `process-transaction`.
type Show<O> = fn(&O) -> Option<Value>;

/// Makes the config of an async consumer: how it is built, and how its output is shown. Called by generated code, as
/// are the functions below.
pub fn consumer<T, B>(policy: ConsumerPolicy, show: Show<T::Output>, build: B) -> TaskConfig
where
    T: Consumer,
    B: Fn(&mut Parts) -> Option<T> + Send + Sync + 'static,
{
    let policies = Policies { consumer: Some(policy), producer: None };
    let runs = move |task| Box::new(Consumes { steps: Arc::new(Consuming(task)), show }) as Box<dyn Runnable>;
    config(Form::Async, policies, build, runs)
}

/// Makes the config of an async producer.
pub fn producer<T, B>(policy: ProducerPolicy, show: Show<T::Output>, build: B) -> TaskConfig
where
    T: Producer,
    B: Fn(&mut Parts) -> Option<T> + Send + Sync + 'static,
{
    let policies = Policies { consumer: None, producer: Some(policy) };
    let runs = move |task| Box::new(Produces { steps: Arc::new(Producing(task)), show }) as Box<dyn Runnable>;
    config(Form::Async, policies, build, runs)
}

/// Makes the config of an async hybrid.
pub fn hybrid<T, B>(
    consumer: ConsumerPolicy,
    producer: ProducerPolicy,
    show: Show<<T as Consumer>::Output>,
    build: B,
) -> TaskConfig
where
    T: Consumer + Producer,
    <T as Consumer>::Output: Outbound,
    B: Fn(&mut Parts) -> Option<T> + Send + Sync + 'static,
{
    let policies = Policies { consumer: Some(consumer), producer: Some(producer) };
    let runs =
        move |task| Box::new(Consumes { steps: Arc::new(Hybrid::new(task)), show }) as Box<dyn Runnable>;
    config(Form::Async, policies, build, runs)
}

/// Makes the config of a blocking consumer.
pub fn blocking_consumer<T, B>(policy: ConsumerPolicy, show: Show<T::Output>, build: B) -> TaskConfig
where
    T: BlockingConsumer,
    B: Fn(&mut Parts) -> Option<T> + Send + Sync + 'static,
{
    let policies = Policies { consumer: Some(policy), producer: None };
    let runs = move |task| {
        Box::new(Consumes { steps: Arc::new(BlockingConsuming(task)), show }) as Box<dyn Runnable>
    };
    config(Form::Blocking, policies, build, runs)
}

/// Makes the config of a blocking producer.
pub fn blocking_producer<T, B>(policy: ProducerPolicy, show: Show<T::Output>, build: B) -> TaskConfig
where
    T: BlockingProducer,
    B: Fn(&mut Parts) -> Option<T> + Send + Sync + 'static,
{
    let policies = Policies { consumer: None, producer: Some(policy) };
    let runs = move |task| {
        Box::new(Produces { steps: Arc::new(BlockingProducing(task)), show }) as Box<dyn Runnable>
    };
    config(Form::Blocking, policies, build, runs)
}

/// Makes the config of a blocking hybrid.
pub fn blocking_hybrid<T, B>(
    consumer: ConsumerPolicy,
    producer: ProducerPolicy,
    show: Show<<T as BlockingConsumer>::Output>,
    build: B,
) -> TaskConfig
where
    T: BlockingConsumer + BlockingProducer,
    <T as BlockingConsumer>::Output: Outbound,
    B: Fn(&mut Parts) -> Option<T> + Send + Sync + 'static,
{
    let policies = Policies { consumer: Some(consumer), producer: Some(producer) };
    let runs = move |task| {
        Box::new(Consumes { steps: Arc::new(BlockingHybrid::new(task)), show }) as Box<dyn Runnable>
    };
    config(Form::Blocking, policies, build, runs)
}

/// Makes the config of a task with an `execute` of its own.
pub fn executor<T, B>(
    consumer: Option<ConsumerPolicy>,
    producer: Option<ProducerPolicy>,
    build: B,
) -> TaskConfig
where
    T: Execute,
    B: Fn(&mut Parts) -> Option<T> + Send + Sync + 'static,
{
    let policies = Policies { consumer, producer };
    config(Form::Execute, policies, build, |task| Box::new(ExecuteTask(task)) as Box<dyn Runnable>)
}

fn config<T: Task>(
    form: Form,
    policies: Policies,
    build: impl Fn(&mut Parts) -> Option<T> + Send + Sync + 'static,
    runs: impl Fn(Arc<T>) -> Box<dyn Runnable> + Send + Sync + 'static,
) -> TaskConfig {
    TaskConfig::new::<T>(form, policies, Arc::new(Built { build, runs }))
}

/// A task to be built, and what runs it.
struct Built<B, R> {
    build: B,
    runs: R,
}

impl<T, B, R> Program for Built<B, R>
where
    B: Fn(&mut Parts) -> Option<T> + Send + Sync,
    R: Fn(Arc<T>) -> Box<dyn Runnable> + Send + Sync,
{
    fn assemble(&self, parts: &mut Parts) -> Option<Box<dyn Runnable>> {
        (self.build)(parts).map(|task| (self.runs)(Arc::new(task)))
    }
}

/// A task that fetches from a source.
struct Consumes<S: Steps> {
    steps: Arc<S>,
    show: Show<S::Output>,
}

impl<S: Steps> Runnable for Consumes<S> {
    fn run(&self, setup: Setup) -> BoxFuture<'_, RunReport> {
        Box::pin(async move {
            let policy = setup.policies.consumer.clone().unwrap_or_default();
            let report = match (setup.source(&policy), terms(&setup, policy)) {
                (Ok(input), Ok(terms)) => {
                    consume(
                        &self.steps,
                        RunState::new(S::NAME, terms, (input, None), &setup.stop),
                        &setup.monitor,
                    )
                    .await
                }
                (Err(error), _) | (_, Err(error)) => not_begun::<S>(error),
            };
            consume::leave(report, consume::exit(&self.steps).await)
        })
    }

    fn process(&self, setup: Setup, transaction: Transaction, dry_run: bool) -> BoxFuture<'_, SingleReport> {
        let policy = setup.policies.consumer.clone().unwrap_or_default();
        let terms = terms(&setup, policy);
        let given = Given { transaction, dry_run, abort: setup.stop.abort.clone() };
        Box::pin(single::process(Arc::clone(&self.steps), terms, self.show, given))
    }

    fn exit(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(consume::exit(&self.steps))
    }
}

/// A task that pulls a stream.
struct Produces<S: Steps> {
    steps: Arc<S>,
    show: Show<S::Output>,
}

impl<S: Pull> Runnable for Produces<S> {
    fn run(&self, setup: Setup) -> BoxFuture<'_, RunReport> {
        Box::pin(async move {
            panic::install_hook();
            let policy = setup.policies.producer.clone().unwrap_or_default().to_loop();
            let report = match terms(&setup, policy) {
                Ok(terms) => {
                    let pull = |feeder| self.steps.pull(feeder);
                    produce(&self.steps, pull, terms, (&setup.stop, &setup.monitor)).await
                }
                Err(error) => not_begun::<S>(error),
            };
            consume::leave(report, consume::exit(&self.steps).await)
        })
    }

    fn process(&self, setup: Setup, transaction: Transaction, dry_run: bool) -> BoxFuture<'_, SingleReport> {
        let policy = setup.policies.producer.clone().unwrap_or_default().to_loop();
        let terms = terms(&setup, policy);
        let given = Given { transaction, dry_run, abort: setup.stop.abort.clone() };
        Box::pin(single::process(Arc::clone(&self.steps), terms, self.show, given))
    }

    fn exit(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(consume::exit(&self.steps))
    }
}

/// What the lives of a loop under this policy have in common; a hybrid's outbound ones have their own.
pub(super) fn terms(setup: &Setup, policy: ConsumerPolicy) -> Result<RunContext, Error> {
    let dead_letter = setup.dead_letter(&policy)?;
    let mut terms = RunContext::new(policy, dead_letter, &setup.stop);
    terms.quota.clone_from(&setup.quota);
    if let (Some(_), Some(producer)) = (&setup.policies.consumer, &setup.policies.producer) {
        let policy = producer.to_loop();
        let dead_letter = setup.dead_letter(&policy)?;
        let mut outbound = RunContext::new(policy, dead_letter, &setup.stop);
        outbound.drain = terms.drain.clone();
        terms.outbound = Some(Box::new(outbound));
    }
    Ok(terms)
}

fn not_begun<S: Steps>(error: Error) -> RunReport {
    RunReport::new(S::NAME, Tally::default(), Instant::now().elapsed(), Ended::Failed(error))
}
