//! A task with its wiring: what the runner is given.

use std::fmt;
use std::sync::Arc;

use super::{Program, Task};
use crate::connector::{Connector, ConnectorConfig, DuplexConfig, Source, SourceConfig};
use crate::policy::ConsumerPolicy;
use crate::service::ServiceConfig;

/// A task, what is wired to it, and its policies; made by the `config` function that `#[ergon::task]` generates.
#[derive(Clone)]
pub struct TaskConfig {
    pub(crate) outline: Outline,
    pub(crate) program: Arc<dyn Program>,
}

/// What can be said about a task without building it.
#[derive(Debug, Clone)]
pub(crate) struct Outline {
    pub(crate) name: &'static str,
    pub(crate) slots: Vec<Slot>,
    pub(crate) services: Vec<(&'static str, &'static str)>,
    pub(crate) consumer: Option<ConsumerPolicy>,
}

/// A place of a task that a connector is wired to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) kind: &'static str,
    /// Whether it is a source that keeps what is rejected.
    pub(crate) keeps_rejected: bool,
}

/// What a task uses a connector for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Source,
    Sink,
    Duplex,
    /// The task calls the connector's own methods.
    Connector,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Sink => "sink",
            Self::Duplex => "duplex",
            Self::Connector => "connector",
        }
    }
}

impl TaskConfig {
    pub(crate) fn new<T: Task>(program: Arc<dyn Program>) -> Self {
        let outline = Outline { name: T::NAME, slots: Vec::new(), services: Vec::new(), consumer: None };
        Self { outline, program }
    }

    /// The task's name.
    pub fn name(&self) -> &'static str {
        self.outline.name
    }

    /// Changes the consumer's policy; the settings, the environment and the command line come after this.
    #[must_use]
    pub fn consumer(mut self, change: impl FnOnce(&mut ConsumerPolicy)) -> Self {
        if let Some(policy) = &mut self.outline.consumer {
            change(policy);
        }
        self
    }

    pub(crate) fn with_consumer(mut self, policy: ConsumerPolicy) -> Self {
        self.outline.consumer = Some(policy);
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub fn __source<C: SourceConfig>(self, name: &'static str) -> Self {
        self.slot::<C>(name, Role::Source, <C::Connector as Source>::KEEPS_REJECTED)
    }

    #[doc(hidden)]
    #[must_use]
    pub fn __sink<C: ConnectorConfig>(self, name: &'static str) -> Self {
        self.slot::<C>(name, Role::Sink, false)
    }

    #[doc(hidden)]
    #[must_use]
    pub fn __duplex<C: DuplexConfig>(self, name: &'static str) -> Self {
        self.slot::<C>(name, Role::Duplex, <C::Connector as Source>::KEEPS_REJECTED)
    }

    #[doc(hidden)]
    #[must_use]
    pub fn __connector<C: ConnectorConfig>(self, name: &'static str) -> Self {
        self.slot::<C>(name, Role::Connector, false)
    }

    #[doc(hidden)]
    #[must_use]
    pub fn __service<C: ServiceConfig>(mut self, name: &'static str) -> Self {
        self.outline.services.push((name, std::any::type_name::<C::Service>()));
        self
    }

    fn slot<C: ConnectorConfig>(mut self, name: &'static str, role: Role, keeps_rejected: bool) -> Self {
        let kind = <C::Connector as Connector>::KIND;
        self.outline.slots.push(Slot { name, role, kind, keeps_rejected });
        self
    }
}

impl fmt::Debug for TaskConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskConfig").field("outline", &self.outline).finish_non_exhaustive()
    }
}
