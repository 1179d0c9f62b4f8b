//! Reads the tables of the framework: `[telemetry]`, `[runner]`, `[tasks.<name>]`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::de;
use serde::{Deserialize, Deserializer};

use super::fail_when::FailWhen;
use super::origin::Origin;
use super::problem::Problem;
use super::reader::{self, is_asked_for};
use super::setting::Setting;
use super::sources::Sources;
use super::suggest;
use super::telemetry::Telemetry;
use super::tree::{Entry, Node};
use crate::error::Error;
use crate::policy::duration::Limit;
use crate::policy::written::{self, Written};
use crate::policy::{ConsumerLayer, Flags, NO_TIME, Policies, PolicyProblem, ProducerLayer, Role};

/// The settings of the framework.
#[derive(Debug)]
pub(crate) struct Framework {
    pub(crate) telemetry: Telemetry,
    pub(crate) runner: Runner,
    runner_tree: Node,
    tasks: Vec<(String, TaskTable)>,
    /// The values of `[tasks]`, with their places.
    tasks_tree: Node,
    pub(super) telemetry_tree: Node,
    pub(super) variables: Vec<Setting>,
    /// Warnings about ignored parts of the files of variables.
    pub(crate) ignored: Vec<String>,
}

/// `[runner]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Runner {
    /// The address of the health server. Default: no server.
    health: Option<Address>,
    /// The maximum time without progress while transactions are in flight. Default: five minutes, or twice the
    /// `transaction_timeout`.
    stall_after: Option<Limit>,
    /// The conditions under which a finished run has failed. Default: none.
    fail_when: Option<FailWhen>,
}

impl Runner {
    /// The address of the health server.
    pub(crate) fn health(&self) -> Option<SocketAddr> {
        self.health.as_ref().map(|address| address.0)
    }

    /// The maximum time without progress, if the settings have one.
    pub(crate) fn stall_after(&self) -> Option<Limit> {
        self.stall_after
    }

    /// The conditions under which a run fails.
    pub(crate) fn fail_when(&self) -> Option<&FailWhen> {
        self.fail_when.as_ref()
    }

    /// The problem of a limit of 0: every run is without progress for that time.
    fn problem(&self, tree: &Node) -> Option<Problem> {
        let nothing = self.stall_after.is_some_and(|limit| limit.0 == Some(Duration::ZERO));
        let node = tree.find(["stall_after"]).filter(|_| nothing)?;
        let what = format!("{NO_TIME}{}", node.found());
        Some(Problem::new(node.origin.clone(), "runner.stall_after", what))
    }
}

/// An address with a port.
#[derive(Debug)]
struct Address(SocketAddr);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        written::deserialize(deserializer)
    }
}

impl Written for Address {
    const EXPECTED: &'static str = "an address with a port such as \"127.0.0.1:9464\" or \"0.0.0.0:9464\"";

    fn read(text: &str) -> Result<Self, Option<String>> {
        text.parse().map(Self).map_err(|_| None)
    }
}

/// `[tasks.<name>]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TaskTable {
    consumer: ConsumerLayer,
    producer: ProducerLayer,
    /// The number of worker processes of the task.
    workers: Option<Workers>,
}

/// A number of worker processes.
#[derive(Debug, Clone, Copy)]
struct Workers(u32);

impl<'de> Deserialize<'de> for Workers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            0 => Err(de::Error::invalid_value(de::Unexpected::Unsigned(0), &"at least 1")),
            workers => Ok(Self(workers)),
        }
    }
}

impl Framework {
    /// Removes the framework's tables from the sources and reads them. Problems are added to `problems`.
    pub(super) fn take(sources: &mut Sources, problems: &mut Vec<Problem>) -> Self {
        let telemetry_tree = sources.take("telemetry");
        let telemetry = collect(reader::read(&telemetry_tree, "telemetry"), problems);
        let runner_tree = sources.take("runner");
        let runner: Runner = collect(reader::read(&runner_tree, "runner"), problems);
        problems.extend(runner.problem(&runner_tree));
        let tasks_tree = sources.take("tasks");
        let read = |entry: &Entry| {
            let table = reader::read(&entry.node, &format!("tasks.{}", entry.key));
            (entry.key.clone(), collect(table, problems))
        };
        let tasks = tasks_tree.entries().iter().map(read).collect();
        Self {
            telemetry,
            runner,
            runner_tree,
            tasks,
            tasks_tree,
            telemetry_tree,
            variables: std::mem::take(&mut sources.variables),
            ignored: std::mem::take(&mut sources.ignored),
        }
    }

    /// Checks for tables of tasks that do not exist, and for policies of a role that a task does not have.
    ///
    /// # Errors
    /// Each such table, with its place.
    pub(crate) fn check_tasks(&self, tasks: &[(&str, &Policies)]) -> Result<(), Error> {
        let mut problems = Vec::new();
        for entry in self.tasks_tree.entries() {
            match tasks.iter().find(|(name, _)| entry.is(name)) {
                Some((_, policies)) => problems.extend(without_role(entry, policies)),
                None => problems.push(no_task(entry, tasks)),
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.into()) }
    }

    /// The effective policies: the task's own, changed by the settings, then by the command line.
    ///
    /// # Errors
    /// Each rule that does not hold, with the layer that set the value.
    pub(crate) fn policies(
        &self,
        task: &str,
        base: &Policies,
        flags: &Flags,
    ) -> Result<Policies, Vec<Error>> {
        let mut policies = base.clone();
        if let Some(table) = self.table(task) {
            policies.consumer.iter_mut().for_each(|policy| table.consumer.clone().apply(policy));
            policies.producer.iter_mut().for_each(|policy| table.producer.clone().apply(policy));
        }
        let flagged = flags.apply(&mut policies);
        let errors = policies.problems().map(|(role, problem)| {
            let option = flags.written(problem.key()).filter(|_| role == flagged);
            self.blame(task, role, &problem, option)
        });
        let errors: Vec<_> = errors.collect();
        if errors.is_empty() { Ok(policies) } else { Err(errors) }
    }

    /// The error of a health address that cannot be bound.
    pub(crate) fn health_refused(&self, what: &str, hint: &str) -> Error {
        let origin = self.runner_tree.find(["health"]).map_or(Origin::Nowhere, |node| node.origin.clone());
        Problem::new(origin, "runner.health", what).with_hint(format!("hint: {hint}")).into()
    }

    /// The number of worker processes that the settings give a task.
    pub(crate) fn workers(&self, task: &str) -> Option<u32> {
        self.table(task)?.workers.map(|workers| workers.0)
    }

    /// The origin of a key of a task in the settings or the environment; `keys` starts with the role, or is `workers`.
    pub(crate) fn origin(&self, task: &str, keys: &str) -> Option<&Origin> {
        let path = std::iter::once(task).chain(keys.split('.'));
        self.tasks_tree.find(path).map(|node| &node.origin)
    }

    fn table(&self, task: &str) -> Option<&TaskTable> {
        let entries = self.tasks_tree.entries().iter().zip(&self.tasks);
        entries.filter(|(entry, _)| entry.is(task)).map(|(_, (_, table))| table).next()
    }

    /// The error of a value that breaks a rule, with its origin: the command line, the settings, or the task itself.
    fn blame(&self, task: &str, role: Role, problem: &PolicyProblem, option: Option<&str>) -> Error {
        let role = role.as_str();
        let path = format!("tasks.{task}.{role}.{}", problem.key());
        if let Some(option) = option {
            return Problem::new(Origin::Flag(option.to_owned()), path, problem.rule()).into();
        }
        let keys: Vec<&str> = [task, role].into_iter().chain(problem.key().split('.')).collect();
        let tree = &self.tasks_tree;
        if let Some(node) = tree.find(keys.iter().copied()) {
            let what = format!("{}{}", problem.rule(), node.found());
            return Problem::new(node.origin.clone(), path, what).into();
        }
        // The settings may have made the task's own value invalid: a cap below their backoff.
        let above = (3..keys.len()).rev().find_map(|depth| tree.find(keys.iter().take(depth).copied()));
        let place = above.map_or(Origin::Nowhere, |node| node.origin.clone());
        Problem::new(place, path, problem.rule()).into()
    }

    /// The directives for log lines, with their origin. The command line comes first.
    pub(crate) fn log_level(&self, command_line: Option<&str>) -> Option<LogLevel> {
        let flag = command_line.map(|text| LogLevel::new(text, Origin::Flag(format!("--log-level {text}"))));
        flag.or_else(|| self.variable("ERGON_LOG"))
            .or_else(|| {
                let lenient = self.variable("RUST_LOG")?;
                Some(LogLevel { lenient: true, ..lenient })
            })
            .or_else(|| {
                let origin = self.telemetry_tree.find(["level"])?.origin.clone();
                self.telemetry.level.as_deref().map(|text| LogLevel::new(text, origin))
            })
    }

    /// A variable of the process, or else of `.env`.
    fn variable(&self, name: &str) -> Option<LogLevel> {
        let found = self.variables.iter().rfind(|setting| setting.name == name)?;
        (!found.text.is_empty()).then(|| LogLevel::new(&found.text, found.origin.clone()))
    }
}

/// The directives for log lines, with their origin.
#[derive(Debug)]
pub(crate) struct LogLevel {
    pub(crate) directives: String,
    /// Whether invalid directives are ignored: `RUST_LOG` is shared by all programs.
    pub(crate) lenient: bool,
    origin: Origin,
}

impl LogLevel {
    fn new(directives: &str, origin: Origin) -> Self {
        Self { directives: directives.to_owned(), lenient: false, origin }
    }

    /// The error of invalid directives, for this reason. The reason may repeat the directives.
    pub(crate) fn refused(&self, reason: &str) -> Error {
        let reason = if self.origin.is_private() { "this is not a log level or directive" } else { reason };
        let problem = Problem::new(self.origin.clone(), "", reason);
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        match suggest::hint(&self.directives, levels) {
            Some(hint) => problem.with_hint(format!("hint: {hint}")).into(),
            None => problem.into(),
        }
    }
}

/// Whether a table of the framework has a value under this path of keys.
pub(super) fn has_key(table: &str, keys: &[&str]) -> bool {
    match table {
        "telemetry" => is_asked_for::<Telemetry>(keys),
        "runner" => is_asked_for::<Runner>(keys),
        // A single key is the name of a task, and so a whole table.
        _ => keys.len() > 1 && is_asked_for::<BTreeMap<String, TaskTable>>(keys),
    }
}

fn no_task(entry: &Entry, tasks: &[(&str, &Policies)]) -> Problem {
    let what = format!("there is no task `{}`", entry.key);
    let problem = Problem::new(entry.key_origin.clone(), format!("tasks.{}", entry.key), what);
    match suggest::hint(&entry.key, tasks.iter().map(|(name, _)| *name)) {
        Some(hint) => problem.with_hint(format!("hint: {hint}")),
        None => problem,
    }
}

/// The problems of policies for roles that the task does not have.
fn without_role(task: &Entry, policies: &Policies) -> Vec<Problem> {
    let roles = [
        ("consumer", policies.consumer.is_some(), "does not consume"),
        ("producer", policies.producer.is_some(), "does not produce"),
    ];
    let there = roles.iter().find(|(_, has, _)| *has).map(|(role, ..)| role);
    let missing = roles.iter().filter(|(_, has, _)| !has);
    let found = missing.filter_map(|(role, _, not)| {
        let table = task.node.entries().iter().find(|entry| entry.is(role))?;
        let path = format!("tasks.{}.{role}", task.key);
        let problem = Problem::new(table.key_origin.clone(), path, format!("the task {not}"));
        Some(match there {
            Some(there) => {
                problem.with_hint(format!("hint: the policies of this task belong under `{there}`"))
            }
            None => problem,
        })
    });
    found.collect()
}

fn collect<T: Default>(read: Result<T, Vec<Problem>>, problems: &mut Vec<Problem>) -> T {
    read.unwrap_or_else(|found| {
        problems.extend(found);
        T::default()
    })
}
