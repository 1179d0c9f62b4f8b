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

    /// Says what makes one of them impossible: the role, and the problem.
    pub(crate) fn check(&self) -> Result<(), (&'static str, PolicyProblem)> {
        if let Some(policy) = &self.consumer {
            policy.check().map_err(|problem| ("consumer", problem))?;
        }
        if let Some(policy) = &self.producer {
            policy.check().map_err(|problem| ("producer", problem))?;
        }
        Ok(())
    }
}
