//! The policies of one task: one policy for each role, because a hybrid has two.

use std::time::Duration;

use ergon_schema::Policy;

use super::problem::problems;
use super::{ConsumerPolicy, PolicyProblem, ProducerPolicy};

/// A role of a task; each role has its own policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Consumer,
    Producer,
}

impl Role {
    /// Returns the name of the role's section in the attribute and of its table in the settings.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Producer => "producer",
        }
    }
}

/// The policies of a task's roles; `None` for a role that the task does not have.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Policies {
    pub(crate) consumer: Option<ConsumerPolicy>,
    pub(crate) producer: Option<ProducerPolicy>,
}

impl Policies {
    /// Returns the longest grace of any role: the time for in-flight transactions to finish after a stop.
    pub(crate) fn grace(&self) -> Duration {
        let consumer = self.consumer.as_ref().map(|policy| policy.shutdown_grace);
        consumer.max(self.producer.as_ref().map(|policy| policy.shutdown_grace)).unwrap_or_default()
    }

    /// Returns the policy of a role as data.
    pub(crate) fn of(&self, role: Role) -> Option<&dyn Policy> {
        match role {
            Role::Consumer => self.consumer.as_ref().map(|policy| policy as &dyn Policy),
            Role::Producer => self.producer.as_ref().map(|policy| policy as &dyn Policy),
        }
    }

    /// Returns the policy of each role that the task has, as data.
    pub(crate) fn roles(&self) -> impl Iterator<Item = (Role, &dyn Policy)> {
        [Role::Consumer, Role::Producer].into_iter().filter_map(|role| Some((role, self.of(role)?)))
    }

    /// Returns the rules that the policies break, each with its role.
    pub(crate) fn problems(&self) -> impl Iterator<Item = (Role, PolicyProblem)> {
        let of = |(role, policy)| problems(policy).into_iter().map(move |problem| (role, problem));
        self.roles().flat_map(of)
    }
}
