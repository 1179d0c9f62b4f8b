//! A policy that cannot be obeyed.

use std::borrow::Cow;
use std::fmt;

/// The rule that a time limit of nothing breaks: nobody could keep it, and elsewhere it means that there is none.
pub(crate) const NO_TIME: &str = "must be longer than 0s";

/// The most that may be in process at once: each has a lane of its own, made when the run begins.
pub(super) const MOST_AT_ONCE: usize = 100_000;

/// Names the key of a policy whose value cannot be obeyed, and the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyProblem {
    key: Cow<'static, str>,
    rule: &'static str,
}

impl PolicyProblem {
    pub(crate) const fn new(key: &'static str, rule: &'static str) -> Self {
        Self { key: Cow::Borrowed(key), rule }
    }

    /// Makes a problem of a key that is put together.
    pub(crate) fn of(key: String, rule: &'static str) -> Self {
        Self { key: key.into(), rule }
    }

    /// The same problem, seen from the policy that contains this one: `process.max_attempts`.
    pub(crate) fn within(self, step: &str) -> Self {
        Self { key: format!("{step}.{}", self.key).into(), rule: self.rule }
    }

    /// The key, with dots: `process.max_attempts`.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The rule that the value breaks: `must be at least 1`.
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
