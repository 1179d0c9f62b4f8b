//! What a task is built of: connectors and services, made one by one from their configs.

use std::fmt;
use std::sync::Arc;

use crate::connector::{
    AnyConnector, Connector, ConnectorConfig, ConnectorError, Context, Duplex, DuplexConfig, Input, Output,
    Shard, SinkConfig, SourceConfig, Usage,
};
use crate::error::{Error, ErrorKind};
use crate::policy::{ConsumerPolicy, Policies, ProducerPolicy};
use crate::service::{AnyService, ServiceConfig};

/// Builds the connectors and services of one task and remembers them, so that the runner can open and close them.
///
/// The code that `#[ergon::task]` generates calls this once for each field.
pub struct Parts {
    task: &'static str,
    shard: Shard,
    policies: Policies,
    pub(crate) inputs: Vec<(&'static str, Input)>,
    pub(crate) outputs: Vec<(&'static str, Output)>,
    pub(crate) connectors: Vec<(&'static str, Arc<dyn AnyConnector>)>,
    pub(crate) services: Vec<(&'static str, Arc<dyn AnyService>)>,
}

impl Parts {
    pub(crate) fn new(task: &'static str, shard: Shard, policies: Policies) -> Self {
        Self {
            task,
            shard,
            policies,
            inputs: Vec::new(),
            outputs: Vec::new(),
            connectors: Vec::new(),
            services: Vec::new(),
        }
    }

    /// Builds the source of a slot.
    ///
    /// # Errors
    /// The config's own error, with the slot's name.
    pub fn source<C: SourceConfig>(&mut self, slot: &'static str, config: &C) -> Result<Input, Error> {
        let connector = self.build(slot, config, Usage::Source)?;
        let input = Input::new(connector, &self.context(slot));
        self.inputs.push((slot, input.clone()));
        Ok(input)
    }

    /// Builds the sink of a slot.
    ///
    /// # Errors
    /// The config's own error, with the slot's name.
    pub fn sink<C: SinkConfig>(&mut self, slot: &'static str, config: &C) -> Result<Output, Error> {
        let connector = self.build(slot, config, Usage::Sink)?;
        let output = Output::new(connector, &self.context(slot)).gathering(self.together());
        self.outputs.push((slot, output.clone()));
        Ok(output)
    }

    /// Builds a connector that is both source and sink.
    ///
    /// # Errors
    /// The config's own error, with the slot's name.
    pub fn duplex<C: DuplexConfig>(&mut self, slot: &'static str, config: &C) -> Result<Duplex, Error> {
        let connector = self.connector(slot, config)?;
        let duplex = Duplex::new(connector, &self.context(slot)).gathering(self.together());
        self.inputs.push((slot, duplex.input().clone()));
        self.outputs.push((slot, duplex.output().clone()));
        Ok(duplex)
    }

    /// Builds a connector whose own methods the task calls.
    ///
    /// # Errors
    /// The config's own error, with the slot's name.
    pub fn connector<C: ConnectorConfig>(
        &mut self,
        slot: &'static str,
        config: &C,
    ) -> Result<Arc<C::Connector>, Error> {
        self.build(slot, config, Usage::Any)
    }

    fn build<C: ConnectorConfig>(
        &mut self,
        slot: &'static str,
        config: &C,
        usage: Usage,
    ) -> Result<Arc<C::Connector>, Error> {
        let mut context = self.context(slot);
        context.usage = usage;
        let built = config.build(&context);
        let connector = Arc::new(
            built.map_err(|error| connector_error(slot, <C::Connector as Connector>::KIND, &error))?,
        );
        self.connectors.push((slot, Arc::clone(&connector) as Arc<dyn AnyConnector>));
        Ok(connector)
    }

    /// Builds a service.
    ///
    /// # Errors
    /// The config's own error, with the service's name.
    pub fn service<C: ServiceConfig>(
        &mut self,
        name: &'static str,
        config: &C,
    ) -> Result<Arc<C::Service>, Error> {
        let service = config.build().map_err(|error| {
            let hint = error.hint().map(str::to_owned);
            let made = Error::new(ErrorKind::Service, format!("service `{name}`: {error}"));
            with_hint(made, hint)
        })?;
        let service = Arc::new(service);
        self.services.push((name, Arc::clone(&service) as Arc<dyn AnyService>));
        Ok(service)
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
        if let Some(policy) = &self.policies.consumer {
            context.at_once = policy.concurrency.saturating_add(policy.prefetch);
            context.dead_lettered = policy.dead_letter.is_some();
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
    let hint = error.hint().map(str::to_owned);
    let message = format!("connector `{slot}` ({kind}): {error}");
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let made = Error::new(kind_of(error), message);
    with_hint(
        match cause {
            Some(cause) => made.with_source(cause),
            None => made,
        },
        hint,
    )
}

/// What trying again cannot mend is a matter of the settings.
pub(crate) fn kind_of(error: &ConnectorError) -> ErrorKind {
    if error.is_permanent() { ErrorKind::Refused } else { ErrorKind::Connector }
}

fn with_hint(error: Error, hint: Option<String>) -> Error {
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}
