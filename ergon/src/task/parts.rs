//! Builds the parts of a task, its connectors and services, from their configs. A part that cannot be built does not
//! end the build, so that the runner reports all such parts together.

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

/// Builds the connectors and services of one task, and keeps them, so that the runner can open and close them.
///
/// The code that `#[ergon::task]` generates calls one method for each field. A method returns `None` for a part that
/// cannot be built, and keeps the error, so that the runner reports every such part.
pub struct Parts {
    task: &'static str,
    shard: Shard,
    policies: Policies,
    /// Whether the connectors continue the output of an earlier process; see [`Context::is_restart`].
    pub(crate) is_restart: bool,
    /// The slot that the consumer fetches from.
    pub(crate) source: Option<&'static str>,
    pub(crate) inputs: Vec<(&'static str, Input)>,
    pub(crate) outputs: Vec<(&'static str, Output)>,
    pub(crate) connectors: Vec<(&'static str, Arc<dyn AnyConnector>)>,
    pub(crate) services: Vec<(&'static str, Arc<dyn AnyService>)>,
    pub(crate) unbuilt: Vec<Unbuilt>,
    /// The checks of the services inside connectors and services, by kind (`connector` or `service`) and name.
    pub(crate) inner: Vec<(&'static str, &'static str, Ask)>,
}

/// A check that reports whether a part is healthy.
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

    /// Builds a connector for a slot whose type is the connector, so that the task calls its own methods.
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

    /// Lets a program build its task from these parts; `None` if a part is missing or a constructor of the task panics.
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

    /// Returns the policy of the consumer with all layers applied; the default if the task does not consume.
    pub fn consumer_policy(&self) -> ConsumerPolicy {
        self.policies.consumer.clone().unwrap_or_default()
    }

    /// Returns the policy of the producer with all layers applied; the default if the task does not produce.
    pub fn producer_policy(&self) -> ProducerPolicy {
        self.policies.producer.clone().unwrap_or_default()
    }

    /// Returns the greatest number of a producer's transactions in one call of a sink.
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
                // The next batch is not fetched before this batch ends, so the source never has more than one batch
                // unsettled.
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

/// Returns the error of one slot's connector, with the slot, the kind of the connector and the hint.
pub(crate) fn connector_error(slot: &str, kind: &str, error: &ConnectorError) -> Error {
    let message = format!("connector `{slot}` ({kind}): {error}");
    Error::new(kind_of(error), message).explained_like(error, error.hint())
}

/// Returns the error of one service, with its name and the hint.
pub(crate) fn service_error(name: &str, error: &ServiceError) -> Error {
    let message = format!("service `{name}`: {error}");
    Error::new(ErrorKind::Service, message).explained_like(error, error.hint())
}

/// Returns the kind of a connector's error. A permanent error is a matter of the settings, because no retry can fix it.
pub(crate) fn kind_of(error: &ConnectorError) -> ErrorKind {
    if error.is_permanent() { ErrorKind::Refused } else { ErrorKind::Connector }
}
