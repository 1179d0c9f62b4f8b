//! Checks policies before a run. A value that breaks a rule, such as zero attempts, is a [`PolicyProblem`].

use std::borrow::Cow;
use std::fmt;

use ergon_schema::{Bound, Key, Policy, Value, first_broken};

use super::schema::{ConsumerPolicy, ProducerPolicy, RetryPolicy};

/// A value of a policy that breaks a rule: its key, and the rule.
///
/// ```
/// use ergon::policy::RetryPolicy;
///
/// let problem = RetryPolicy { max_attempts: 0, ..RetryPolicy::DEFAULT }.check().unwrap_err();
/// assert_eq!((problem.key(), problem.rule()), ("max_attempts", "must be at least 1"));
/// assert_eq!(problem.to_string(), "`max_attempts` must be at least 1");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyProblem {
    key: Cow<'static, str>,
    rule: &'static str,
}

impl PolicyProblem {
    /// Returns the key, with dots: `process.max_attempts`.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the rule that the value breaks: `must be at least 1`.
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.key, self.rule)
    }
}

impl std::error::Error for PolicyProblem {}

/// Returns every rule that a policy breaks, in the order of its keys.
pub(super) fn problems(policy: &dyn Policy) -> Vec<PolicyProblem> {
    let (keys, values) = (policy.keys(), policy.values());
    let of_key = |(key, value): (&'static Key, &Value<'_>)| match value {
        Value::Group(group) => {
            let within = |problem: PolicyProblem| format!("{}.{}", key.name, problem.key);
            let inner = problems(*group).into_iter();
            inner.map(|problem| PolicyProblem { rule: problem.rule, key: within(problem).into() }).collect()
        }
        value => {
            let rule = key.kind.broken_by(value).or_else(|| key.broken_among(value, keys, &values));
            let problem = rule.map(|rule| PolicyProblem { key: key.name.into(), rule });
            problem.into_iter().collect::<Vec<_>>()
        }
    };
    keys.iter().zip(&values).flat_map(of_key).collect()
}

impl RetryPolicy {
    /// Checks every value against its rule.
    ///
    /// # Errors
    /// The first value that breaks its rule, by its key.
    pub const fn check(&self) -> Result<(), PolicyProblem> {
        match first_broken(ergon_schema::RETRY, &self.data()) {
            Some(Bound { value: key, rule }) => Err(PolicyProblem { key: Cow::Borrowed(key), rule }),
            None => Ok(()),
        }
    }
}

impl ConsumerPolicy {
    /// Checks every value against its rule.
    ///
    /// # Errors
    /// The first value that breaks its rule, by its key: `process.max_attempts`.
    pub fn check(&self) -> Result<(), PolicyProblem> {
        problems(self).into_iter().next().map_or(Ok(()), Err)
    }
}

impl ProducerPolicy {
    /// Checks every value against its rule.
    ///
    /// # Errors
    /// The first value that breaks its rule, by its key: `prepare.max_attempts`.
    pub fn check(&self) -> Result<(), PolicyProblem> {
        problems(self).into_iter().next().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_problem_names_the_whole_key() {
        let process = RetryPolicy { max_attempts: 0, ..RetryPolicy::DEFAULT };
        let policy = ConsumerPolicy { process, ..ConsumerPolicy::DEFAULT };
        assert_eq!(policy.check().unwrap_err().to_string(), "`process.max_attempts` must be at least 1");
    }

    #[test]
    fn the_problem_names_the_producers_own_key() {
        let prepare = RetryPolicy { max_attempts: 0, ..RetryPolicy::DEFAULT };
        let policy = ProducerPolicy { prepare, ..ProducerPolicy::DEFAULT };
        assert_eq!(policy.check().unwrap_err().to_string(), "`prepare.max_attempts` must be at least 1");
    }

    #[test]
    fn no_more_at_once_than_there_can_be_lanes() {
        let policy = ConsumerPolicy { concurrency: 100_001, ..ConsumerPolicy::DEFAULT };
        assert_eq!(policy.check().unwrap_err().to_string(), "`concurrency` must be at most 100000");
    }
}
