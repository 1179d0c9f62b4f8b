//! Defines the names of metrics, spans and attributes. Tests compare dashboards, alerts and documentation with them.

// ── metrics ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/// A metric of Ergon.
///
/// ```
/// use ergon::telemetry::METRICS;
///
/// for metric in METRICS {
///     println!("{} ({}): {}", metric.name, metric.kind.as_str(), metric.description);
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The name in OpenTelemetry.
    pub name: &'static str,
    /// The unit, in UCUM notation: `s`, or the counted things in braces.
    pub unit: &'static str,
    /// The kind of the instrument.
    pub kind: MetricKind,
    /// The labels, sorted. A label is never an id.
    pub labels: &'static [&'static str],
    /// The description, as exporters send it.
    pub description: &'static str,
}

/// The kind of a [`Metric`]'s instrument.
///
/// ```
/// use ergon::telemetry::MetricKind;
///
/// assert_eq!(MetricKind::UpDownCounter.as_str(), "gauge");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// A sum that never falls.
    Counter,
    /// A current value that rises and falls: a gauge in Prometheus. The values of several workers add up.
    UpDownCounter,
    /// A distribution: the number of values between given bounds, their count and their sum.
    Histogram,
}

impl MetricKind {
    /// Returns the kind in lower case, as Prometheus names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::UpDownCounter => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Metric {
    /// Returns the name of the metric in Prometheus. The series of a histogram add `_bucket`, `_sum` and `_count` to it.
    ///
    /// ```
    /// let names: Vec<_> = ergon::telemetry::METRICS.iter().map(|metric| metric.prometheus_name()).collect();
    /// assert!(names.contains(&"ergon_transactions_total".to_owned()));
    /// assert!(names.contains(&"ergon_step_duration_seconds".to_owned()));
    /// ```
    pub fn prometheus_name(&self) -> String {
        let unit = if self.unit == "s" { "_seconds" } else { "" };
        let total = if self.kind == MetricKind::Counter { "_total" } else { "" };
        format!("{}{unit}{total}", self.name.replace('.', "_"))
    }
}

macro_rules! metrics {
    ($($id:ident: $name:literal, $unit:literal, $kind:ident, $labels:expr, $description:literal;)*) => {
        $(pub(crate) const $id: Metric = Metric {
            name: $name,
            unit: $unit,
            kind: MetricKind::$kind,
            labels: &$labels,
            description: $description,
        };)*

        /// All metrics, in the order of the documentation.
        ///
        /// ```
        /// use ergon::telemetry::{METRICS, MetricKind};
        ///
        /// let metric = METRICS.iter().find(|metric| metric.name == "ergon.transactions").unwrap();
        /// assert_eq!((metric.kind, metric.labels), (MetricKind::Counter, &["outcome", "task"][..]));
        /// ```
        pub const METRICS: &[Metric] = &[$($id),*];
    };
}

metrics! {
    TRANSACTIONS: "ergon.transactions", "{transaction}", Counter, ["outcome", "task"],
        "Processed transactions, by outcome: `succeeded`, or the category of the error.";
    TRANSACTION_DURATION: "ergon.transaction.duration", "s", Histogram, ["outcome", "task"],
        "Time from the first step of a transaction to its outcome, including retries and waits.";
    STEP_DURATION: "ergon.step.duration", "s", Histogram, ["outcome", "step", "task"],
        "Time of a step, including all its attempts and the waits between them, by outcome.";
    ATTEMPTS: "ergon.attempts", "{attempt}", Counter, ["outcome", "step", "task"],
        "Attempts of a step, by outcome.";
    RETRIES: "ergon.retries", "{attempt}", Counter, ["category", "step", "task"],
        "Retries of a step, by the category of the error that caused the retry.";
    CALL_RETRIES: "ergon.call.retries", "{call}", Counter, ["category", "task"],
        "Retries of calls by a service or a function under `run_fn`, by the category of the error that caused the retry.";
    BACKOFF_DURATION: "ergon.backoff.duration", "s", Histogram, ["step", "task"],
        "Waits before the retries of a step.";
    TIMEOUTS: "ergon.timeouts", "{timeout}", Counter, ["step", "task"],
        "Time limits that ran out in a step: the limit of the step or of the whole transaction.";
    IN_FLIGHT: "ergon.in_flight", "{transaction}", UpDownCounter, ["task"],
        "Transactions that are in one of their steps now.";
    CONCURRENCY_LIMIT: "ergon.concurrency.limit", "{transaction}", UpDownCounter, ["task"],
        "Maximum number of transactions that may be in their steps at the same time.";
    FETCH_DURATION: "ergon.fetch.duration", "s", Histogram, ["task"],
        "Time until the source answers a fetch, including its waits for data.";
    FETCH_BATCH_SIZE: "ergon.fetch.batch_size", "{transaction}", Histogram, ["task"],
        "Transactions in a fetch that is not empty.";
    FETCH_EMPTY: "ergon.fetch.empty", "{fetch}", Counter, ["task"],
        "Fetches that returned no transaction.";
    SETTLEMENTS: "ergon.settlements", "{transaction}", Counter, ["disposition", "result", "task"],
        "Settlements, by disposition and by result: `done`, `not_done` or `unknown`.";
    QUEUE_WAIT: "ergon.queue.wait", "s", Histogram, ["task"],
        "Age of a transaction when its first step starts.";
    DEAD_LETTERS: "ergon.dead_letters", "{transaction}", Counter, ["task"],
        "Transactions that the dead-letter connector accepted.";
    DEAD_LETTERS_WAITING: "ergon.dead_letters.waiting", "{transaction}", UpDownCounter, ["task"],
        "Dead letters that wait because the dead-letter connector does not accept them.";
    ABANDONED_THREADS: "ergon.abandoned_threads", "{thread}", UpDownCounter, ["task"],
        "Threads whose blocking handler was abandoned and has not returned.";
    CONNECTOR_RECONNECTS: "ergon.connector.reconnects", "{connection}", Counter, ["connector", "purpose"],
        "Reconnections of a connector after it had lost its connection.";
    LEASES_LOST: "ergon.leases.lost", "{transaction}", Counter, ["connector"],
        "Transactions that the external system takes back because their lease was not extended in time.";
}

// ── spans ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Spans.
#[cfg(feature = "opentelemetry")]
pub(crate) mod span {
    /// A finite run of a task. The name of the task follows the name of the span.
    pub(crate) const RUN: &str = "run";
    /// The deliveries of one fetch, until all of them are settled.
    pub(crate) const BATCH: &str = "batch";
    /// The call to the source.
    pub(crate) const FETCH: &str = "fetch";
    /// A transaction, from its first step to its outcome. Its steps carry their own names.
    pub(crate) const TRANSACTION: &str = "transaction";
    /// One attempt of a step.
    pub(crate) const ATTEMPT: &str = "attempt";
    /// A dispatch to a sink, until the sink has confirmed the transactions.
    pub(crate) const DISPATCH: &str = "dispatch";
}

/// Attributes of the program itself.
#[cfg(feature = "opentelemetry")]
pub(crate) mod resource {
    pub(crate) const SERVICE_VERSION: &str = "service.version";
    /// An id for each execution of the program.
    pub(crate) const INSTANCE_ID: &str = "service.instance.id";
    pub(crate) const PID: &str = "process.pid";
    pub(crate) const HOST: &str = "host.name";
    /// The task that runs, or the list of them.
    pub(crate) const TASK: &str = "ergon.task.name";
    /// The index of a worker, from 0.
    pub(crate) const WORKER: &str = "ergon.worker.index";
}

/// Attributes of spans. Attributes without the prefix `ergon.` are of OpenTelemetry's semantic conventions 1.37:
/// <https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>.
#[cfg(feature = "opentelemetry")]
pub(crate) mod attribute {
    pub(crate) const TASK: &str = "ergon.task.name";
    pub(crate) const TRANSACTION_ID: &str = "ergon.transaction.id";
    /// The number of times that the source has delivered the transaction.
    pub(crate) const DELIVERIES: &str = "ergon.deliveries";
    /// From 1.
    pub(crate) const ATTEMPT: &str = "ergon.attempt";
    pub(crate) const MAX_ATTEMPTS: &str = "ergon.max_attempts";
    /// `succeeded`, `handled`, `handler_failed` or `aborted`.
    pub(crate) const OUTCOME: &str = "ergon.outcome";
    /// `business`, `system` or `timeout`.
    pub(crate) const CATEGORY: &str = "ergon.category";
    /// The disposition: `ack`, `reject`, `dead_letter`, `requeue` or `retry_after`.
    pub(crate) const DISPOSITION: &str = "ergon.disposition";
    pub(crate) const BATCH_SIZE: &str = "messaging.batch.message_count";
    /// The kind of the connector: `rabbitmq`, `json-lines`, ….
    pub(crate) const SYSTEM: &str = "messaging.system";
    /// The queue, file or table.
    pub(crate) const DESTINATION: &str = "messaging.destination.name";
    /// `receive`, `process` or `send`.
    pub(crate) const OPERATION: &str = "messaging.operation.type";
    pub(crate) const MESSAGE_ID: &str = "messaging.message.id";
    pub(crate) const ERROR_TYPE: &str = "error.type";
    pub(crate) const EXCEPTION_TYPE: &str = "exception.type";
    pub(crate) const EXCEPTION_MESSAGE: &str = "exception.message";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_each_metric_as_it_is() {
        let page = include_str!("../../../docs/metrics.md");
        for metric in METRICS {
            let labels =
                metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            let Metric { name, unit, kind, description, .. } = metric;
            let kind = kind.as_str();
            let row = format!(
                "| `{name}` | `{}` | {kind} | `{unit}` | {labels} | {description} |",
                metric.prometheus_name()
            );
            assert!(page.contains(&row), "docs/metrics.md lacks\n{row}");
        }
        let rows = page.lines().filter(|line| line.starts_with("| `ergon.")).count();
        assert_eq!(rows, METRICS.len());
    }

    #[test]
    fn what_is_promised_is_measured() {
        const PROMISED: [(&str, &[&str]); 20] = [
            ("ergon.transactions", &["outcome", "task"]),
            ("ergon.transaction.duration", &[]),
            ("ergon.step.duration", &["outcome", "step", "task"]),
            ("ergon.attempts", &["outcome", "step", "task"]),
            ("ergon.retries", &["category", "step", "task"]),
            ("ergon.call.retries", &["category", "task"]),
            ("ergon.backoff.duration", &[]),
            ("ergon.timeouts", &["step", "task"]),
            ("ergon.in_flight", &[]),
            ("ergon.concurrency.limit", &[]),
            ("ergon.fetch.duration", &[]),
            ("ergon.fetch.batch_size", &[]),
            ("ergon.fetch.empty", &[]),
            ("ergon.settlements", &["disposition", "result", "task"]),
            ("ergon.queue.wait", &[]),
            ("ergon.dead_letters", &[]),
            ("ergon.dead_letters.waiting", &[]),
            ("ergon.abandoned_threads", &[]),
            ("ergon.connector.reconnects", &[]),
            ("ergon.leases.lost", &["connector"]),
        ];
        assert!(METRICS.iter().map(|metric| metric.name).eq(PROMISED.iter().map(|(name, _)| *name)));
        for (metric, (name, labels)) in METRICS.iter().zip(PROMISED) {
            assert!(labels.is_empty() || metric.labels == labels, "{name}");
        }
    }

    #[test]
    fn labels_are_sorted_and_none_is_an_id() {
        for Metric { name, labels, .. } in METRICS {
            assert!(labels.is_sorted(), "{name}");
            assert!(!labels.iter().any(|label| label.ends_with("id")), "{name}");
        }
    }

    #[test]
    fn the_page_describes_every_span_and_attribute() {
        let page = include_str!("../../../docs/observability.md");
        let (_, spans) = include_str!("names.rs").split_once("── spans").unwrap();
        let constants = spans.lines().filter(|line| line.trim_start().starts_with("pub(crate) const"));
        let names: Vec<&str> = constants.filter_map(|line| line.split('"').nth(1)).collect();
        assert!(names.len() > 20, "{names:?}");
        for name in names {
            assert!(page.contains(&format!("`{name}")), "docs/observability.md does not describe `{name}`");
        }
    }
}
