//! `describe`: the tasks, what they are wired to, and the policies in force.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::list::short_type;
use crate::cli::args::Format;
use crate::cli::output::Output;
use crate::cli::project::Project;
use crate::error::Error;
use crate::policy::duration::display;
use crate::policy::{ConsumerPolicy, Mode, OnHandlerFailure, RetryPolicy};
use crate::runner::{Exit, Slots};
use crate::task::{Outline, Role};

/// Shows the tasks.
///
/// # Errors
/// A policy that cannot be obeyed, or output that cannot be written.
pub(crate) fn describe(project: &Project, format: Format, output: &Output) -> Result<Exit, Error> {
    let tasks = project.tasks.iter().map(|task| {
        let outline = &task.outline;
        let Some(policy) = project.consumer_policy(task)? else {
            return Ok(Described { outline, consumer: None });
        };
        let slots = Slots::of(outline, &policy)?;
        Ok(Described { outline, consumer: Some((policy, slots)) })
    });
    let tasks: Vec<Described<'_>> = tasks.collect::<Result<_, Error>>()?;
    let text = match format {
        Format::Text => tasks.iter().map(text).collect::<Vec<_>>().join("\n"),
        Format::Json => format!("{:#}\n", tasks.iter().map(json).collect::<Value>()),
        Format::Mermaid => graph(&tasks, &Notation::MERMAID),
        Format::Dot => graph(&tasks, &Notation::DOT),
    };
    output.data(&text)?;
    Ok(Exit::Success)
}

struct Described<'a> {
    outline: &'a Outline,
    consumer: Option<(ConsumerPolicy, Slots)>,
}

impl Described<'_> {
    /// What a slot is to the task: its role, and its part in the loop.
    fn part(&self, name: &str, role: Role) -> &'static str {
        match &self.consumer {
            Some((_, slots)) if slots.dead_letter.is_some_and(|slot| slot.name == name) => "dead letter",
            Some((_, slots)) if slots.source.name == name => "source, fetched from",
            _ => role.as_str(),
        }
    }
}

fn text(task: &Described<'_>) -> String {
    let outline = task.outline;
    let mut text = format!("{}\n", outline.name);
    let names = outline.slots.iter().map(|slot| slot.name);
    let width =
        names.chain(outline.services.iter().map(|(name, _)| *name)).map(str::len).max().unwrap_or_default();
    // Writing to a String cannot fail, here and below.
    for slot in &outline.slots {
        let part = task.part(slot.name, slot.role);
        let _ = writeln!(text, "  {:<width$}  {} ({part})", slot.name, slot.kind);
    }
    for (name, kind) in &outline.services {
        let _ = writeln!(text, "  {name:<width$}  {} (service)", short_type(kind));
    }
    if let Some((policy, _)) = &task.consumer {
        text.push_str("  consumer:\n");
        for (key, value) in policy_values(policy) {
            let _ = writeln!(text, "    {key} = {value}");
        }
    }
    text
}

fn json(task: &Described<'_>) -> Value {
    let outline = task.outline;
    let connectors = outline
        .slots
        .iter()
        .map(|slot| json!({"slot": slot.name, "kind": slot.kind, "role": slot.role.as_str()}));
    let services =
        outline.services.iter().map(|(name, kind)| json!({"name": name, "type": short_type(kind)}));
    let consumer = task.consumer.as_ref().map(|(policy, slots)| {
        let values = policy_values(policy).into_iter().map(|(key, value)| (key, json_value(&value)));
        let mut object: Map<String, Value> = values.collect();
        object.insert("from".to_owned(), slots.source.name.into());
        object.insert("dead_letter".to_owned(), slots.dead_letter.map(|slot| slot.name).into());
        object
    });
    json!({
        "name": outline.name,
        "connectors": connectors.collect::<Vec<_>>(),
        "services": services.collect::<Vec<_>>(),
        "consumer": consumer,
    })
}

/// A value as it stands in TOML, as JSON.
fn json_value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// The keys of a policy as they stand in `[tasks.<name>.consumer]`, with the values in force.
fn policy_values(policy: &ConsumerPolicy) -> Vec<(String, String)> {
    let mode = if policy.mode == Mode::Batch { "batch" } else { "continuous" };
    let on_failure = if policy.on_handler_failure == OnHandlerFailure::Reject { "reject" } else { "requeue" };
    let mut values = vec![
        ("concurrency".to_owned(), policy.concurrency.to_string()),
        ("batch_size".to_owned(), policy.batch_size.to_string()),
        ("prefetch".to_owned(), policy.prefetch.to_string()),
        ("mode".to_owned(), quoted(mode)),
        ("streaming".to_owned(), policy.streaming.to_string()),
    ];
    let mut optional = |key: &str, value: Option<String>| {
        values.extend(value.map(|value| (key.to_owned(), value)));
    };
    optional("limit", policy.limit.map(|limit| limit.to_string()));
    optional("timeout", policy.timeout.map(span));
    optional("transaction_timeout", Some(policy.transaction_timeout.map_or_else(|| quoted("none"), span)));
    optional("from", policy.from.as_ref().map(quoted));
    optional("dead_letter", policy.dead_letter.as_ref().map(quoted));
    optional("on_handler_failure", Some(quoted(on_failure)));
    optional("max_deliveries", Some(policy.max_deliveries.to_string()));
    optional("shutdown_grace", Some(span(policy.shutdown_grace)));
    let queue = &policy.empty_queue;
    optional("empty_queue.backoff", Some(span(queue.backoff)));
    optional("empty_queue.backoff_multiplier", Some(queue.backoff_multiplier.to_string()));
    optional("empty_queue.backoff_cap", Some(span(queue.backoff_cap)));
    let steps = [
        ("fetch", &policy.fetch),
        ("process", &policy.process),
        ("success", &policy.success),
        ("exception", &policy.exception),
    ];
    values.extend(steps.into_iter().flat_map(|(step, retry)| retry_values(step, retry)));
    values
}

fn retry_values(step: &str, retry: &RetryPolicy) -> Vec<(String, String)> {
    let values = [
        ("max_attempts", Some(retry.max_attempts.to_string())),
        ("timeout", retry.timeout.map(span)),
        ("backoff", Some(span(retry.backoff))),
        ("backoff_multiplier", Some(retry.backoff_multiplier.to_string())),
        ("backoff_cap", retry.backoff_cap.map(span)),
        ("jitter", Some(retry.jitter.to_string())),
    ];
    values.into_iter().filter_map(|(key, value)| Some((format!("{step}.{key}"), value?))).collect()
}

fn quoted(text: impl Display) -> String {
    format!("\"{text}\"")
}

fn span(duration: Duration) -> String {
    quoted(display(duration))
}

/// How a graph is written.
struct Notation {
    head: &'static str,
    tail: &'static str,
    /// A task and a connector: name, label.
    task: fn(&str, &str) -> String,
    connector: fn(&str, &str) -> String,
    edge: fn(&str, &str, &str) -> String,
}

impl Notation {
    const MERMAID: Self = Self {
        head: "flowchart LR\n",
        tail: "",
        task: |id, label| format!("  {id}[\"{label}\"]\n"),
        connector: |id, label| format!("  {id}[(\"{label}\")]\n"),
        edge: |from, to, label| format!("  {from} -->|\"{label}\"| {to}\n"),
    };
    const DOT: Self = Self {
        head: "digraph ergon {\n  rankdir=LR;\n",
        tail: "}\n",
        task: |id, label| format!("  {id} [shape=box, label=\"{label}\"];\n"),
        connector: |id, label| format!("  {id} [shape=cylinder, label=\"{label}\"];\n"),
        edge: |from, to, label| format!("  {from} -> {to} [label=\"{label}\"];\n"),
    };
}

/// The tasks as boxes between what they fetch from and what they dispatch to.
fn graph(tasks: &[Described<'_>], notation: &Notation) -> String {
    let mut text = notation.head.to_owned();
    for task in tasks {
        let id = task.outline.name.replace('-', "_");
        text.push_str(&(notation.task)(&id, task.outline.name));
        for slot in &task.outline.slots {
            let slot_id = format!("{id}__{}", slot.name);
            text.push_str(&(notation.connector)(&slot_id, &format!("{} ({})", slot.name, slot.kind)));
            let part = task.part(slot.name, slot.role);
            let inward = matches!(slot.role, Role::Source) || part.starts_with("source");
            let (from, to) = if inward { (&slot_id, &id) } else { (&id, &slot_id) };
            text.push_str(&(notation.edge)(from, to, slot.role.as_str()));
        }
    }
    text.push_str(notation.tail);
    text
}
