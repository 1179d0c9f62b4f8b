//! The policies of a task as they stand in the settings, and who set each value.

use std::fmt::Display;
use std::time::Duration;

use crate::policy::duration::display;
use crate::policy::{ConsumerPolicy, Mode, OnHandlerFailure, Policies, ProducerPolicy, RetryPolicy};
use crate::settings::Framework;
use crate::task::Outline;

/// One value in force.
#[derive(Debug)]
pub(crate) struct Setting {
    /// With dots: `process.max_attempts`.
    pub(crate) key: String,
    /// As in TOML.
    pub(crate) value: String,
    /// Who set it: a place in a file, a variable, `TaskConfig`, `#[ergon::task]`, or `default`.
    pub(crate) layer: String,
}

/// The values of a task's policies in force, by role.
pub(crate) fn settings(
    outline: &Outline,
    policies: &Policies,
    framework: &Framework,
) -> Vec<(&'static str, Vec<Setting>)> {
    let settings = |role: &'static str, values: Vec<Value>, config: &[Value], attribute: &[Value]| {
        let settings = values.into_iter().map(|(key, value)| {
            let path = format!("{role}.{key}");
            let by_settings = framework.origin(outline.name, &path).and_then(crate::settings::Origin::at);
            let set = |layer: &[Value]| {
                layer.iter().find(|(other, _)| *other == key).map(|(_, value)| value.clone())
            };
            let layer =
                by_settings.unwrap_or_else(|| match (set(config) != set(attribute), outline.gives(&path)) {
                    (true, _) => "TaskConfig".to_owned(),
                    (false, true) => "#[ergon::task]".to_owned(),
                    (false, false) => "default".to_owned(),
                });
            Setting { key, value, layer }
        });
        (role, settings.collect())
    };
    let (config, attribute) = (&outline.policies, &outline.attribute);
    let of_consumer =
        |policies: &Policies| policies.consumer.as_ref().map(consumer_values).unwrap_or_default();
    let of_producer =
        |policies: &Policies| policies.producer.as_ref().map(producer_values).unwrap_or_default();
    let mut all = Vec::new();
    if policies.consumer.is_some() {
        let values = of_consumer(policies);
        all.push(settings("consumer", values, &of_consumer(config), &of_consumer(attribute)));
    }
    if policies.producer.is_some() {
        let values = of_producer(policies);
        all.push(settings("producer", values, &of_producer(config), &of_producer(attribute)));
    }
    all
}

/// A key and its value, as in TOML.
type Value = (String, String);

/// The keys as they stand in `[tasks.<name>.consumer]`.
fn consumer_values(policy: &ConsumerPolicy) -> Vec<Value> {
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

/// The keys as they stand in `[tasks.<name>.producer]`: those of its loop that mean something to a producer.
fn producer_values(policy: &ProducerPolicy) -> Vec<Value> {
    const KEYS: [&str; 11] = [
        "concurrency",
        "batch_size",
        "limit",
        "timeout",
        "transaction_timeout",
        "dead_letter",
        "on_handler_failure",
        "max_deliveries",
        "shutdown_grace",
        "success",
        "exception",
    ];
    let values = consumer_values(&policy.to_loop()).into_iter().filter_map(|(key, value)| {
        if let Some(rest) = key.strip_prefix("process.") {
            return Some((format!("prepare.{rest}"), value));
        }
        let first = key.split('.').next().unwrap_or_default();
        KEYS.contains(&first).then_some((key, value))
    });
    values.collect()
}

fn retry_values(step: &str, retry: &RetryPolicy) -> Vec<Value> {
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
