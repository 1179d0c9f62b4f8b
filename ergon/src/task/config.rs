//! A task with its wiring: what the runner is given.

use std::fmt;
use std::sync::Arc;

use super::{Program, Task};
use crate::connector::{Connector, ConnectorConfig, DuplexConfig, Source, SourceConfig};
use crate::policy::{ConsumerPolicy, Policies, ProducerPolicy};
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
    /// How the task's code is written: `async`, `blocking` or `execute`.
    pub(crate) form: Form,
    /// How many worker processes run the task, as it stands and as it stood in the attribute.
    pub(crate) workers: u32,
    pub(crate) attribute_workers: u32,
    /// The policies as they stand, and as they stood in the attribute.
    pub(crate) policies: Policies,
    pub(crate) attribute: Policies,
    /// The keys that the attribute gives, with dots: `consumer.process.max_attempts`.
    pub(crate) given: &'static [&'static str],
}

impl Outline {
    /// Says whether the attribute gives a key, or the whole of the step it belongs to.
    pub(crate) fn gives(&self, key: &str) -> bool {
        let begins = |given: &&&str| {
            key.strip_prefix(**given).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.given.iter().any(|given| begins(&given))
    }
}

/// How a task's code is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Async,
    Blocking,
    Execute,
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
    pub(crate) fn new<T: Task>(form: Form, policies: Policies, program: Arc<dyn Program>) -> Self {
        let outline = Outline {
            name: T::NAME,
            slots: Vec::new(),
            services: Vec::new(),
            form,
            workers: 1,
            attribute_workers: 1,
            attribute: policies.clone(),
            policies,
            given: &[],
        };
        Self { outline, program }
    }

    /// The task's name.
    pub fn name(&self) -> &'static str {
        self.outline.name
    }

    /// Changes the consumer's policy; the settings, the environment and the command line come after this. Does nothing
    /// to a task that is no consumer.
    #[must_use]
    pub fn consumer(mut self, change: impl FnOnce(&mut ConsumerPolicy)) -> Self {
        if let Some(policy) = &mut self.outline.policies.consumer {
            change(policy);
        }
        self
    }

    /// Changes the producer's policy, as [`consumer`](Self::consumer) does the consumer's.
    #[must_use]
    pub fn producer(mut self, change: impl FnOnce(&mut ProducerPolicy)) -> Self {
        if let Some(policy) = &mut self.outline.policies.producer {
            change(policy);
        }
        self
    }

    /// Sets how many worker processes run the task; 0 counts as 1.
    #[must_use]
    pub fn workers(mut self, workers: u32) -> Self {
        self.outline.workers = workers.max(1);
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub fn __given(mut self, keys: &'static [&'static str]) -> Self {
        self.outline.given = keys;
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub fn __workers(mut self, workers: u32) -> Self {
        self.outline.attribute_workers = workers;
        self.workers(workers)
    }

    #[doc(hidden)]
    #[must_use]
    pub fn __source<C: SourceConfig>(self, name: &'static str) -> Self {
        self.slot::<C>(name, Role::Source, <C::Connector as Source>::HAS_DEAD_LETTERS)
    }

    #[doc(hidden)]
    #[must_use]
    pub fn __sink<C: ConnectorConfig>(self, name: &'static str) -> Self {
        self.slot::<C>(name, Role::Sink, false)
    }

    #[doc(hidden)]
    #[must_use]
    pub fn __duplex<C: DuplexConfig>(self, name: &'static str) -> Self {
        self.slot::<C>(name, Role::Duplex, <C::Connector as Source>::HAS_DEAD_LETTERS)
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
