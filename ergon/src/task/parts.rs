//! What a task is built of: connectors and services, made one by one from their configs.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Program, Runnable};
use crate::connector::{
    AnyConnector, Connector, ConnectorConfig, ConnectorError, Context, Direction, Duplex, DuplexConfig,
    Input, Output, Shard, SinkConfig, SourceConfig,
};
use crate::error::{Error, ErrorKind};
use crate::policy::{ConsumerPolicy, Mode, Policies, ProducerPolicy};
use crate::service::{AnyService, ServiceConfig, ServiceError};
use crate::transaction::panic::caught;

/// Builds the connectors and services of one task and remembers them, so that the runner can open and close them.
///
/// The code that `#[ergon::task]` generates calls this once for each field. What cannot be built is none, and why is
/// remembered too: so all that is wrong is told at once.
pub struct Parts {
    task: &'static str,
    shard: Shard,
    policies: Policies,
    /// Whether the connectors go on with what others wrote before; see [`Context::is_restart`].
    pub(crate) is_restart: bool,
    /// The slot that the consumer fetches from.
    pub(crate) source: Option<&'static str>,
    pub(crate) inputs: Vec<(&'static str, Input)>,
    pub(crate) outputs: Vec<(&'static str, Output)>,
    pub(crate) connectors: Vec<(&'static str, Arc<dyn AnyConnector>)>,
    pub(crate) services: Vec<(&'static str, Arc<dyn AnyService>)>,
    pub(crate) unbuilt: Vec<Unbuilt>,
    /// Asks the services that a connector or service is built of; by what it is, and its name.
    pub(crate) inner: Vec<(&'static str, &'static str, Ask)>,
}

/// Asks something whether it is well.
pub(crate) type Ask = Box<dyn FnOnce() -> BoxFuture<'static, Result<(), Error>> + Send>;

/// A connector or a service that its config cannot build, or the task itself.
#[derive(Debug)]
pub(crate) struct Unbuilt {
    /// `connector`, `service` or `task`.
    pub(crate) what: &'static str,
    pub(crate) name: &'static str,
    pub(crate) error: Error,
}

impl Parts {
    pub(crate) fn new(task: &'static str, shard: Shard, policies: Policies) -> Self {
        Self {
            task,
            shard,
            policies,
            is_restart: false,
            source: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
            connectors: Vec::new(),
            services: Vec::new(),
            unbuilt: Vec::new(),
            inner: Vec::new(),
        }
    }

    /// Builds the source of a slot.
    pub fn source<C: SourceConfig>(&mut self, slot: &'static str, config: &C) -> Option<Input> {
        let connector = self.build(slot, config, Direction::Source)?;
        let input = Input::new(connector, &self.context(slot));
        self.inputs.push((slot, input.clone()));
        Some(input)
    }

    /// Builds the sink of a slot.
    pub fn sink<C: SinkConfig>(&mut self, slot: &'static str, config: &C) -> Option<Output> {
        let connector = self.build(slot, config, Direction::Sink)?;
        let output = Output::new(connector, &self.context(slot)).batching(self.together());
        self.outputs.push((slot, output.clone()));
        Some(output)
    }

    /// Builds a connector that is both source and sink.
    pub fn duplex<C: DuplexConfig>(&mut self, slot: &'static str, config: &C) -> Option<Duplex> {
        let connector = self.connector(slot, config)?;
        let duplex = Duplex::new(connector, &self.context(slot)).batching(self.together());
        self.inputs.push((slot, duplex.input().clone()));
        self.outputs.push((slot, duplex.output().clone()));
        Some(duplex)
    }

    /// Builds a connector whose own methods the task calls.
    pub fn connector<C: ConnectorConfig>(
        &mut self,
        slot: &'static str,
        config: &C,
    ) -> Option<Arc<C::Connector>> {
        self.build(slot, config, Direction::Any)
    }

    fn build<C: ConnectorConfig>(
        &mut self,
        slot: &'static str,
        config: &C,
        direction: Direction,
    ) -> Option<Arc<C::Connector>> {
        let mut context = self.context(slot);
        context.direction = direction;
        let built =
            caught(|| config.build(&context)).unwrap_or_else(|said| Err(ConnectorError::transient(said)));
        let built = built.map_err(|error| connector_error(slot, <C::Connector as Connector>::KIND, &error));
        let connector = Arc::new(self.built("connector", slot, built)?);
        self.connectors.push((slot, Arc::clone(&connector) as Arc<dyn AnyConnector>));
        let asked = Arc::clone(&connector);
        let ask: Ask = Box::new(move || {
            Box::pin(async move {
                let inner = C::check_inner(&asked).await;
                inner.map_err(|error| connector_error(slot, <C::Connector as Connector>::KIND, &error))
            })
        });
        self.inner.push(("connector", slot, ask));
        Some(connector)
    }

    /// Builds a service.
    pub fn service<C: ServiceConfig>(&mut self, name: &'static str, config: &C) -> Option<Arc<C::Service>> {
        let built = caught(|| config.build()).unwrap_or_else(|said| Err(ServiceError::new(said)));
        let built = built.map_err(|error| service_error(name, &error));
        let service = Arc::new(self.built("service", name, built)?);
        self.services.push((name, Arc::clone(&service) as Arc<dyn AnyService>));
        let asked = Arc::clone(&service);
        let ask: Ask = Box::new(move || {
            Box::pin(async move { C::check_inner(&asked).await.map_err(|error| service_error(name, &error)) })
        });
        self.inner.push(("service", name, ask));
        Some(service)
    }

    /// Lets a program build its task out of these parts; a panic of the task's own constructors is why there is none.
    pub(crate) fn task(&mut self, program: &dyn Program) -> Option<Box<dyn Runnable>> {
        let name = self.task;
        caught(|| program.assemble(self)).unwrap_or_else(|said| {
            let error = Error::new(ErrorKind::Task, format!("task `{name}`: {said}"));
            self.unbuilt.push(Unbuilt { what: "task", name, error });
            None
        })
    }

    fn built<T>(&mut self, what: &'static str, name: &'static str, built: Result<T, Error>) -> Option<T> {
        built.map_err(|error| self.unbuilt.push(Unbuilt { what, name, error })).ok()
    }

    /// The consumer's policy, with all its layers applied; the default if the task is no consumer.
    pub fn consumer_policy(&self) -> ConsumerPolicy {
        self.policies.consumer.clone().unwrap_or_default()
    }

    /// The producer's policy, with all its layers applied; the default if the task is no producer.
    pub fn producer_policy(&self) -> ProducerPolicy {
        self.policies.producer.clone().unwrap_or_default()
    }

    /// How many transactions of a producer may go to a sink in one call.
    fn together(&self) -> usize {
        self.policies.producer.as_ref().map_or(1, |policy| policy.batch_size)
    }

    fn context(&self, slot: &'static str) -> Context {
        let mut context = Context::new(self.task, slot);
        context.shard = self.shard;
        context.is_restart = self.is_restart;
        if let Some(policy) = &self.policies.consumer {
            context.max_in_flight = match policy.mode {
                Mode::Continuous => policy.concurrency.saturating_add(policy.prefetch),
                // Nothing of the next batch comes before this one has ended.
                Mode::Batch => policy.batch_size,
            };
            context.has_dead_letter = policy.dead_letter.is_some();
            context.streaming = policy.streaming && self.source == Some(slot);
        }
        context
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots: Vec<_> = self.connectors.iter().map(|(slot, _)| slot).collect();
        f.debug_struct("Parts").field("task", &self.task).field("connectors", &slots).finish_non_exhaustive()
    }
}

/// The error of one slot's connector, in the user's words: which slot, which kind, what, and the hint.
pub(crate) fn connector_error(slot: &str, kind: &str, error: &ConnectorError) -> Error {
    let message = format!("connector `{slot}` ({kind}): {error}");
    Error::new(kind_of(error), message).explained_like(error, error.hint())
}

/// The same of a service.
pub(crate) fn service_error(name: &str, error: &ServiceError) -> Error {
    let message = format!("service `{name}`: {error}");
    Error::new(ErrorKind::Service, message).explained_like(error, error.hint())
}

/// What trying again cannot mend is a matter of the settings.
pub(crate) fn kind_of(error: &ConnectorError) -> ErrorKind {
    if error.is_permanent() { ErrorKind::Refused } else { ErrorKind::Connector }
}
