//! The config of a task: its wiring, its policies and the function that builds it. The runner gets this value, so it
//! does not need the type of the task.

use std::fmt;
use std::sync::Arc;

use super::{Program, Task};
use crate::connector::{Connector, ConnectorConfig, DuplexConfig, Source, SourceConfig};
use crate::policy::{ConsumerPolicy, Policies, ProducerPolicy};
use crate::service::ServiceConfig;

/// A task with its wiring and its policies. The function `config` that `#[ergon::task]` generates makes it.
///
/// Nothing is built or opened before the task runs. Changes to a policy here come after the attribute, and before the
/// settings, the environment and the command line.
///
/// ```
/// use ergon::prelude::*;
///
/// #[ergon::task(connectors(input), consumer(concurrency = 2))]
/// struct CountOrders;
///
/// impl Consumer for CountOrders {
///     type Payload = Value;
///     type Output = ();
///
///     async fn process_transaction(&self, _: &Transaction<Value>) -> Result<()> {
///         Ok(())
///     }
/// }
///
/// let config = CountOrders::config(CountOrdersWiring { input: MemoryConfig::new("orders") })
///     .workers(2)
///     .consumer(|policy| policy.concurrency = 16);
/// assert_eq!(config.name(), "count-orders");
/// ```
#[derive(Clone)]
pub struct TaskConfig {
    pub(crate) outline: Outline,
    pub(crate) program: Arc<dyn Program>,
}

/// The description of a task, which is known without building it.
#[derive(Debug, Clone)]
pub(crate) struct Outline {
    pub(crate) name: &'static str,
    pub(crate) slots: Vec<Slot>,
    pub(crate) services: Vec<(&'static str, &'static str)>,
    /// The form of the task's code: `async`, `blocking` or `execute`.
    pub(crate) form: Form,
    /// The number of worker processes: the current number, and the number in the attribute.
    pub(crate) workers: u32,
    pub(crate) attribute_workers: u32,
    /// The policies: the current policies, and the policies of the attribute.
    pub(crate) policies: Policies,
    pub(crate) attribute: Policies,
    /// The keys that the attribute sets, with dots: `consumer.process.max_attempts`.
    pub(crate) given: &'static [&'static str],
}

impl Outline {
    /// Returns whether the attribute sets a key, or the whole step that the key belongs to.
    pub(crate) fn gives(&self, key: &str) -> bool {
        let begins = |given: &&&str| {
            key.strip_prefix(**given).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.given.iter().any(|given| begins(&given))
    }
}

/// The form of a task's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Async,
    Blocking,
    Execute,
}

/// A slot of a task, which a connector is wired to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) kind: &'static str,
    /// Whether the slot is a source that keeps rejected transactions.
    pub(crate) keeps_rejected: bool,
}

/// The role of a connector in a task.
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

    /// Returns the task's name, in kebab-case.
    pub fn name(&self) -> &'static str {
        self.outline.name
    }

    /// Changes the policy of the consumer. The settings, the environment and the command line are applied after this.
    /// Does nothing for a task that does not consume.
    #[must_use]
    pub fn consumer(mut self, change: impl FnOnce(&mut ConsumerPolicy)) -> Self {
        if let Some(policy) = &mut self.outline.policies.consumer {
            change(policy);
        }
        self
    }

    /// Changes the policy of the producer, in the same way as [`consumer`](Self::consumer).
    #[must_use]
    pub fn producer(mut self, change: impl FnOnce(&mut ProducerPolicy)) -> Self {
        if let Some(policy) = &mut self.outline.policies.producer {
            change(policy);
        }
        self
    }

    /// Sets the number of worker processes; 0 counts as 1. Default: 1.
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
