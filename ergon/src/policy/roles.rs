//! The policies of one task, a policy for each of its roles.

use std::time::Duration;

use super::{ConsumerPolicy, PolicyProblem, ProducerPolicy};

/// The policies of a task's roles; a role that the task has not has none.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Policies {
    pub(crate) consumer: Option<ConsumerPolicy>,
    pub(crate) producer: Option<ProducerPolicy>,
}

impl Policies {
    /// How long in-flight transactions may go on after a stop, in any role.
    pub(crate) fn grace(&self) -> Duration {
        let consumer = self.consumer.as_ref().map(|policy| policy.shutdown_grace);
        consumer.max(self.producer.as_ref().map(|policy| policy.shutdown_grace)).unwrap_or_default()
    }

    /// All that makes them impossible: the role, and the problem.
    pub(crate) fn problems(&self) -> impl Iterator<Item = (&'static str, PolicyProblem)> {
        let consumer = self.consumer.iter().flat_map(ConsumerPolicy::problems);
        let producer = self.producer.iter().flat_map(ProducerPolicy::problems);
        let consumer = consumer.map(|problem| ("consumer", problem));
        consumer.chain(producer.map(|problem| ("producer", problem)))
    }
}
