//! Makes the configs of tasks: one function for each role, called by generated code.
//!
//! The functions differ only in their bounds, and stay separate because of them. Each function requires the trait that
//! the user has to implement, at the name of the user's struct, so that a missing `impl Consumer` is reported with the
//! message of `Consumer`. A single function over a role would need its own trait between the struct and the role, and
//! the compiler would report that trait instead.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::buffer::{Pump, stream_source};
use super::consume::consume;
use super::execute::{Execute, ExecuteTask};
use super::exit::{exit, leave};
use super::produce::{ProducerStream, Pull, produce};
use super::role::Role;
use super::roles::{self, Blocking, Consuming, Hybrid, Producing, Show, nothing};
use super::run_context::RunContext;
use super::run_state::RunState;
use super::single::{self, Given};
use super::steps::Steps;
use crate::error::Error;
use crate::policy::{ConsumerPolicy, Policies, ProducerPolicy};
use crate::task::{
    BlockingConsumer, BlockingProducer, Consumer, Form, Outbound, Parts, Producer, Program, Runnable, Setup,
    Task, TaskConfig,
};
use crate::telemetry::{Ended, RunReport, SingleReport, Tally};
use crate::transaction::{Result, Transaction, panic};

/// Makes the config of an async consumer. `build` makes the task from its connectors and services. `show` converts the
/// output of its process step to JSON.
pub fn consumer<T, B>(policy: ConsumerPolicy, show: Show<T::Output>, build: B) -> TaskConfig
where
    T: Consumer,
    B: Fn(&mut Parts) -> Option<T> + Send + Sync + 'static,
{
    let policies = Policies { consumer: Some(policy), producer: None };
    config(Form::Async, policies, build, move |task| consumes(Consuming { task, show }))
}

/// Makes the config of an async producer.
pub fn producer<T, B>(policy: ProducerPolicy, show: Show<T::Output>, build: B) -> TaskConfig
where
    T: Producer,
    B: Fn(&mut Parts) -> Option<T> + Send + Sync + 'static,
{
    let policies = Policies { consumer: None, producer: Some(policy) };
    config(Form::Async, policies, build, move |task| produces(Producing { task, show }))
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
    config(Form::Async, policies, build, move |task: Arc<T>| {
        let producer = Producing { task: Arc::clone(&task), show: nothing };
        consumes(Hybrid { consumer: Consuming { task, show }, producer })
    })
}

/// Makes the config of a blocking consumer.
pub fn blocking_consumer<T, B>(policy: ConsumerPolicy, show: Show<T::Output>, build: B) -> TaskConfig
where
    T: BlockingConsumer,
    B: Fn(&mut Parts) -> Option<T> + Send + Sync + 'static,
{
    let policies = Policies { consumer: Some(policy), producer: None };
    config(Form::Blocking, policies, build, move |task| {
        consumes(Blocking::<T, roles::Consumes>::new(task, show))
    })
}

/// Makes the config of a blocking producer.
pub fn blocking_producer<T, B>(policy: ProducerPolicy, show: Show<T::Output>, build: B) -> TaskConfig
where
    T: BlockingProducer,
    B: Fn(&mut Parts) -> Option<T> + Send + Sync + 'static,
{
    let policies = Policies { consumer: None, producer: Some(policy) };
    config(Form::Blocking, policies, build, move |task| {
        produces(Blocking::<T, roles::Produces>::new(task, show))
    })
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
    config(Form::Blocking, policies, build, move |task: Arc<T>| {
        let producer = Blocking::<T, roles::Produces>::new(Arc::clone(&task), nothing);
        consumes(Hybrid { consumer: Blocking::<T, roles::Consumes>::new(task, show), producer })
    })
}

/// Makes the config of a task that implements [`Execute`].
pub fn executor<T, B>(
    consumer: Option<ConsumerPolicy>,
    producer: Option<ProducerPolicy>,
    build: B,
) -> TaskConfig
where
    T: Execute,
    B: Fn(&mut Parts) -> Option<T> + Send + Sync + 'static,
{
    config(Form::Execute, Policies { consumer, producer }, build, |task| Box::new(ExecuteTask(task)))
}

fn config<T: Task>(
    form: Form,
    policies: Policies,
    build: impl Fn(&mut Parts) -> Option<T> + Send + Sync + 'static,
    runs: impl Fn(Arc<T>) -> Box<dyn Runnable> + Send + Sync + 'static,
) -> TaskConfig {
    TaskConfig::new::<T>(form, policies, Arc::new(Built { build, runs }))
}

/// Builds a task and what runs it.
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

fn consumes(steps: impl Steps) -> Box<dyn Runnable> {
    Box::new(Consumes { role: Arc::new(steps) })
}

fn produces(steps: impl Pull) -> Box<dyn Runnable> {
    let steps = Arc::new(steps);
    let pulled = Arc::clone(&steps);
    Box::new(Produces { role: steps, pull: Box::new(move |pump| Box::pin(Arc::clone(&pulled).pull(pump))) })
}

/// Runs a task that fetches from a source.
struct Consumes {
    role: Arc<dyn Role>,
}

impl Runnable for Consumes {
    fn run(&self, setup: Setup) -> BoxFuture<'_, RunReport> {
        Box::pin(async move {
            let policy = setup.policies.consumer.clone().unwrap_or_default();
            let report = match (setup.source(&policy), RunContext::of(&setup, policy)) {
                (Ok(input), Ok(context)) => {
                    let run = RunState::new(self.role.info().task, context, (input, None), &setup.stop);
                    consume(&self.role, run, &setup.monitor).await
                }
                (Err(error), _) | (_, Err(error)) => not_begun(&self.role, error),
            };
            leave(report, exit(&self.role).await)
        })
    }

    fn process(&self, setup: Setup, transaction: Transaction, dry_run: bool) -> BoxFuture<'_, SingleReport> {
        let policy = setup.policies.consumer.clone().unwrap_or_default();
        process(&self.role, &setup, policy, (transaction, dry_run))
    }

    fn exit(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(exit(&self.role))
    }
}

/// Runs a task that pulls a stream.
struct Produces {
    role: Arc<dyn Role>,
    pull: Box<dyn Fn(Pump) -> BoxFuture<'static, ()> + Send + Sync>,
}

impl Runnable for Produces {
    fn run(&self, setup: Setup) -> BoxFuture<'_, RunReport> {
        Box::pin(async move {
            panic::install_hook();
            let policy = setup.policies.producer.clone().unwrap_or_default().to_loop();
            let report = match RunContext::of(&setup, policy) {
                Ok(context) => {
                    let (input, pulled, pump) = stream_source(self.role.info().task);
                    let stream = ProducerStream { input, pulled, pull: (self.pull)(pump) };
                    produce(&self.role, stream, context, &setup.stop, &setup.monitor).await
                }
                Err(error) => not_begun(&self.role, error),
            };
            leave(report, exit(&self.role).await)
        })
    }

    fn process(&self, setup: Setup, transaction: Transaction, dry_run: bool) -> BoxFuture<'_, SingleReport> {
        let policy = setup.policies.producer.clone().unwrap_or_default().to_loop();
        process(&self.role, &setup, policy, (transaction, dry_run))
    }

    fn exit(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(exit(&self.role))
    }
}

fn process(
    role: &Arc<dyn Role>,
    setup: &Setup,
    policy: ConsumerPolicy,
    (transaction, dry_run): (Transaction, bool),
) -> BoxFuture<'static, SingleReport> {
    let context = RunContext::of(setup, policy);
    let given = Given { transaction, dry_run, abort: setup.stop.abort.clone() };
    Box::pin(single::process(Arc::clone(role), context, given))
}

fn not_begun(role: &Arc<dyn Role>, error: Error) -> RunReport {
    RunReport::new(role.info().task, Tally::default(), Instant::now().elapsed(), Ended::Failed(error))
}
