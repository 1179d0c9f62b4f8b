//! Builds a task from its config, and opens its connectors and services.

use std::sync::Arc;

use futures_util::future::join_all;

use super::conflicts::conflicts;
use super::resource::Resource;
use crate::connector::{AnyConnector, Input, Output, Shard};
use crate::error::{Error, ErrorKind};
use crate::policy::{ConsumerPolicy, Policies};
use crate::settings::suggest;
use crate::task::{Outline, Parts, Role, Runnable, Slot, TaskConfig};

/// A task and its effective policies.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) config: TaskConfig,
    pub(crate) policies: Policies,
    /// The reason why the requested policies are invalid. In that case, `policies` are the task's own.
    pub(crate) wrong: Vec<Error>,
}

/// The slots of a task that its loops use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slots {
    /// The source of the consumer; `None` if the task is no consumer.
    pub(crate) source: Option<Slot>,
    pub(crate) dead_letter: Option<Slot>,
    /// The dead-letter connector of the producer.
    pub(crate) undeliverable: Option<Slot>,
}

impl Slots {
    /// Finds the slots that the policies name.
    ///
    /// # Errors
    /// Returns an error if a policy names no slot, or a slot of the wrong kind.
    pub(crate) fn of(outline: &Outline, policies: &Policies) -> Result<Self, Error> {
        let [source, dead_letter, undeliverable] = Self::each(outline, policies);
        Ok(Self { source: source?, dead_letter: dead_letter?, undeliverable: undeliverable? })
    }

    /// The error of each slot that the policies name wrongly.
    pub(super) fn wrong(outline: &Outline, policies: &Policies) -> impl Iterator<Item = Error> {
        Self::each(outline, policies).into_iter().filter_map(Result::err)
    }

    fn each(outline: &Outline, policies: &Policies) -> [Result<Option<Slot>, Error>; 3] {
        let (consumer, producer) = (policies.consumer.as_ref(), policies.producer.as_ref());
        let source = consumer.map(|policy| source_of(outline, policy)).transpose();
        let fetched_from = source.as_ref().ok().copied().flatten();
        let dead_letter = consumer.and_then(|policy| policy.dead_letter.as_deref());
        let undeliverable = producer.and_then(|policy| policy.dead_letter.as_deref());
        [
            source,
            dead_letter_of(outline, dead_letter, fetched_from),
            dead_letter_of(outline, undeliverable, None),
        ]
    }

    /// Whether rejected transactions are kept, in every role of the task.
    fn keep_rejected(&self, policies: &Policies) -> bool {
        let consumed = self.source.is_none_or(|source| source.keeps_rejected || self.dead_letter.is_some());
        consumed && (policies.producer.is_none() || self.undeliverable.is_some())
    }
}

fn source_of(outline: &Outline, policy: &ConsumerPolicy) -> Result<Slot, Error> {
    match &policy.from {
        Some(name) => named(outline, "from", name, is_source),
        None => outline.slots.iter().find(|slot| is_source(slot.role)).copied().ok_or_else(|| {
            policy_error(outline, "there is no source to fetch from")
                .with_hint("the first connector of a consumer is its source: `connectors(input, ...)`")
        }),
    }
}

fn dead_letter_of(
    outline: &Outline,
    name: Option<&str>,
    source: Option<Slot>,
) -> Result<Option<Slot>, Error> {
    let slot = name.map(|name| named(outline, "dead_letter", name, is_sink)).transpose()?;
    if let Some(same) = slot.filter(|slot| source.is_some_and(|source| source.name == slot.name)) {
        let what = format!("`dead_letter` names `{}`, the source itself", same.name);
        return Err(policy_error(outline, &what)
            .with_hint("a rejected transaction would be fetched again: name another connector"));
    }
    Ok(slot)
}

fn is_source(role: Role) -> bool {
    matches!(role, Role::Source | Role::Duplex)
}

fn is_sink(role: Role) -> bool {
    matches!(role, Role::Sink | Role::Duplex)
}

/// The slot that a key of the policy names.
fn named(outline: &Outline, key: &str, name: &str, fits: fn(Role) -> bool) -> Result<Slot, Error> {
    let candidates = outline.slots.iter().filter(|slot| fits(slot.role)).map(|slot| slot.name);
    match outline.slots.iter().find(|slot| slot.name == name) {
        Some(slot) if fits(slot.role) => Ok(*slot),
        Some(slot) => {
            let what = format!("`{key}` names `{name}`, which is a {}", slot.role.as_str());
            let wanted = if key == "from" { "source" } else { "sink" };
            Err(policy_error(outline, &what).with_hint(format!("name a {wanted}, or a duplex connector")))
        }
        None => {
            let what = format!("`{key}` names `{name}`, which is no connector of the task");
            Err(policy_error(outline, &what).with_hint_if(suggest::hint(name, candidates)))
        }
    }
}

fn policy_error(outline: &Outline, what: &str) -> Error {
    Error::new(ErrorKind::Policy, format!("task `{}`: {what}", outline.name))
}

impl Plan {
    /// A task under its own policies.
    pub(crate) fn new(config: TaskConfig) -> Self {
        let policies = config.outline.policies.clone();
        let problems = policies.problems();
        let wrong = problems.map(|(_, problem)| Error::new(ErrorKind::Policy, problem.to_string())).collect();
        Self { config, policies, wrong }
    }

    /// Builds the task, its connectors and services. Reaches no external system.
    ///
    /// # Errors
    /// Returns all errors: invalid policies, policies that name a wrong slot, invalid configs, and files that are both
    /// read and written.
    pub(crate) fn build(self, shard: Shard) -> Result<Built, Vec<Error>> {
        self.built(shard, false)
    }

    /// Builds a task that keeps the content of its outputs: no output is emptied.
    ///
    /// # Errors
    /// The same as those of [`build`](Self::build).
    pub(crate) fn resume(self, shard: Shard) -> Result<Built, Vec<Error>> {
        self.built(shard, true)
    }

    fn built(self, shard: Shard, is_restart: bool) -> Result<Built, Vec<Error>> {
        let Self { config, policies, wrong } = self;
        let slots = Slots::of(&config.outline, &policies);
        let mut parts = Parts::new(config.name(), shard, policies.clone());
        parts.is_restart = is_restart;
        parts.source = slots.as_ref().ok().and_then(|slots| slots.source).map(|source| source.name);
        let task = parts.task(config.program.as_ref());
        let conflicts = conflicts(&parts);
        match (slots, task) {
            (Ok(slots), Some(task)) if wrong.is_empty() && conflicts.is_empty() => {
                Ok(Built { name: config.name(), policies, slots, task, parts })
            }
            _ => {
                let unbuilt = parts.unbuilt.into_iter().map(|unbuilt| unbuilt.error);
                Err(wrong
                    .into_iter()
                    .chain(Slots::wrong(&config.outline, &policies))
                    .chain(unbuilt)
                    .chain(conflicts.into_iter().map(|(_, error)| error))
                    .collect())
            }
        }
    }

    /// The warning for a task whose rejected transactions are not kept.
    pub(crate) fn warning(&self) -> Option<String> {
        let slots = Slots::of(&self.config.outline, &self.policies).ok()?;
        let role = if self.policies.consumer.is_some() { "consumer" } else { "producer" };
        (!slots.keep_rejected(&self.policies)).then(|| {
            format!(
                "{}: rejected transactions are only listed in the summary; to keep them, add a connector and name it: \
                 `{role}(dead_letter = ...)`",
                self.config.name()
            )
        })
    }
}

/// A task that is built.
pub(crate) struct Built {
    pub(crate) name: &'static str,
    pub(crate) policies: Policies,
    pub(super) slots: Slots,
    task: Box<dyn Runnable>,
    pub(super) parts: Parts,
}

/// The part of a task that is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Everything.
    Whole,
    /// Without the source: one transaction is given by hand, and nothing is fetched.
    WithoutSource,
    /// Only services: only the process step runs, so that nothing is dispatched.
    ProcessOnly,
    /// Source and services: only the process step of a fetched transaction runs.
    SourceAndProcess,
}

impl Built {
    /// Opens connectors and services concurrently.
    ///
    /// # Errors
    /// Returns the error of each one that cannot be opened. The others are closed again.
    pub(crate) async fn open(self, reach: Reach) -> Result<Opened, Vec<Error>> {
        let resources = self.resources(reach);
        let results = join_all(resources.iter().map(Resource::open)).await;
        let mut opened = Vec::new();
        let mut errors = Vec::new();
        for (resource, result) in resources.into_iter().zip(results) {
            match result {
                Ok(()) => opened.push(resource),
                Err(error) => errors.push(error),
            }
        }
        let Self { name, policies, slots, task, parts } = self;
        let Parts { inputs, outputs, .. } = parts;
        let opened = Opened { name, policies, slots, inputs, outputs, task, resources: opened };
        if errors.is_empty() {
            return Ok(opened);
        }
        errors.extend(opened.close().await);
        Err(errors)
    }

    /// The connectors and services to open, in the order in which they are closed: sinks, services, the source.
    pub(super) fn resources(&self, reach: Reach) -> Vec<Resource> {
        // A source that no policy names may be used by the task itself. It is not the source of a loop.
        let source = self.slots.source;
        let (sources, sinks): (Vec<Resource>, Vec<Resource>) = Resource::connectors(&self.parts)
            .partition(|resource| source.is_some_and(|source| source.name == resource.name()));
        let (sources, sinks, services) =
            (sources.into_iter(), sinks.into_iter(), Resource::services(&self.parts));
        match reach {
            Reach::Whole => sinks.chain(services).chain(sources).collect(),
            // A duplex source is also a sink.
            Reach::WithoutSource if source.is_some_and(|source| source.role == Role::Duplex) => {
                sinks.chain(services).chain(sources).collect()
            }
            Reach::WithoutSource => sinks.chain(services).collect(),
            Reach::ProcessOnly => services.collect(),
            Reach::SourceAndProcess => services.chain(sources).collect(),
        }
    }
}

/// A task whose connectors and services are open.
pub(crate) struct Opened {
    pub(crate) name: &'static str,
    pub(crate) policies: Policies,
    pub(crate) slots: Slots,
    pub(crate) inputs: Vec<(&'static str, Input)>,
    pub(crate) outputs: Vec<(&'static str, Output)>,
    pub(crate) task: Box<dyn Runnable>,
    resources: Vec<Resource>,
}

impl Opened {
    /// The source that the consumer fetches from.
    pub(crate) fn input(&self) -> Option<&Input> {
        let source = self.slots.source?;
        self.inputs.iter().find(|(slot, _)| *slot == source.name).map(|(_, input)| input)
    }

    /// The open connectors, by slot.
    pub(crate) fn connectors(&self) -> Vec<(&'static str, Arc<dyn AnyConnector>)> {
        let connectors = self.resources.iter().filter_map(|resource| match resource {
            Resource::Connector(slot, connector) => Some((*slot, Arc::clone(connector))),
            Resource::Service(..) => None,
        });
        connectors.collect()
    }

    /// Starts the run, after everything is open. If anything cannot start, everything is closed.
    pub(crate) async fn start(self) -> Result<Self, Vec<Error>> {
        let begun = join_all(self.resources.iter().map(Resource::start)).await;
        let mut errors: Vec<Error> = begun.into_iter().filter_map(Result::err).collect();
        if errors.is_empty() {
            return Ok(self);
        }
        errors.extend(self.close().await);
        Err(errors)
    }

    /// Closes sinks, services and the source, in this order. Returns the errors.
    pub(crate) async fn close(self) -> Vec<Error> {
        // The task is dropped first, because it may still use its connectors.
        drop(self.task);
        let mut errors = Vec::new();
        for resource in self.resources {
            errors.extend(resource.close().await.err());
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::fake::price_orders;

    fn error(change: impl FnOnce(&mut ConsumerPolicy)) -> String {
        let config = price_orders("slots", ConsumerPolicy::DEFAULT).consumer(change);
        let error = Slots::of(&config.outline, &config.outline.policies).unwrap_err();
        format!("{error}; {}", error.hint().unwrap_or_default())
    }

    #[test]
    fn a_dead_letter_must_be_a_sink_of_the_task() {
        assert_eq!(
            error(|policy| policy.dead_letter = Some("dql".into())),
            "task `price-orders`: `dead_letter` names `dql`, which is no connector of the task; did you mean `dlq`?"
        );
        assert_eq!(
            error(|policy| policy.dead_letter = Some("input".into())),
            "task `price-orders`: `dead_letter` names `input`, which is a source; name a sink, or a duplex connector"
        );
    }

    #[test]
    fn the_source_must_be_one() {
        assert_eq!(
            error(|policy| policy.from = Some("output".into())),
            "task `price-orders`: `from` names `output`, which is a sink; name a source, or a duplex connector"
        );
    }

    #[test]
    fn sinks_are_closed_first_and_the_source_last() {
        let config = price_orders("order", ConsumerPolicy::DEFAULT);
        let built = Plan::new(config).build(Shard::default()).unwrap();
        let names = |reach| {
            let resources = built.resources(reach).into_iter();
            resources.map(|resource| resource.name()).collect::<Vec<_>>()
        };
        assert_eq!(names(Reach::Whole), ["output", "dlq", "input"]);
        assert_eq!(names(Reach::WithoutSource), ["output", "dlq"]);
        assert_eq!(names(Reach::ProcessOnly), [""; 0]);
    }

    #[test]
    fn a_source_that_does_not_keep_what_is_rejected_is_warned_of() {
        let warning = |keeps_rejected, dead_letter: Option<&'static str>| {
            let policy =
                ConsumerPolicy { dead_letter: dead_letter.map(Into::into), ..ConsumerPolicy::DEFAULT };
            let mut config = price_orders("warned", policy);
            config.outline.slots[0].keeps_rejected = keeps_rejected;
            Plan::new(config).warning()
        };
        assert_eq!(
            warning(false, None).unwrap(),
            "price-orders: rejected transactions are only listed in the summary; to keep them, add a connector and name \
             it: `consumer(dead_letter = ...)`"
        );
        assert_eq!(warning(false, Some("dlq")), None);
        assert_eq!(warning(true, None), None);
    }

    async fn open(queue: &str) -> Result<Opened, Vec<Error>> {
        let config = price_orders(queue, ConsumerPolicy::DEFAULT);
        Plan::new(config).build(Shard::default()).unwrap().open(Reach::Whole).await
    }

    #[tokio::test]
    async fn what_does_not_open_says_which_and_why() {
        let errors = open("stays-shut stays-open").await.err().unwrap();
        let shown: Vec<_> = errors.iter().map(|error| (error.to_string(), error.hint())).collect();
        assert_eq!(shown, [("connector `dlq` (stubborn): it stays shut".to_owned(), Some("knock twice"))]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_opens_is_given_up() {
        let errors = open("never-opens").await.err().unwrap();
        assert_eq!(errors[0].to_string(), "connector `dlq` (stubborn): did not open within 30 seconds");
    }

    #[tokio::test]
    async fn what_does_not_close_is_told() {
        let opened = open("stays-open").await.unwrap_or_else(|_| panic!("opens"));
        let errors = opened.close().await;
        assert_eq!(errors[0].to_string(), "connector `dlq` (stubborn): the disk is full");
    }
}
