//! The names under which a run is seen, in one table each: dashboards, alerts and documentation are held against them.

// ── metrics ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/// A metric that a run is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, as OpenTelemetry writes it.
    pub name: &'static str,
    /// Its unit by the rules of UCUM: `s`, or what is counted, in braces.
    pub unit: &'static str,
    /// How its values add up.
    pub kind: MetricKind,
    /// Its labels, sorted; none of them is ever an id.
    pub labels: &'static [&'static str],
    /// The question that it answers.
    pub question: &'static str,
}

/// How the values of a [`Metric`] add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// A sum that never falls.
    Counter,
    /// A sum that rises and falls; over workers it adds up.
    UpDownCounter,
    /// How often values fell between given bounds, their number and their sum.
    Histogram,
}

impl MetricKind {
    /// The kind in lower case, as it stands in the documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::UpDownCounter => "level",
            Self::Histogram => "histogram",
        }
    }
}

impl Metric {
    /// Returns the name under which Prometheus knows the metric; a histogram's series add `_bucket`, `_sum` and
    /// `_count` to it.
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
    ($($id:ident: $name:literal, $unit:literal, $kind:ident, $labels:expr, $question:literal;)*) => {
        $(pub(crate) const $id: Metric = Metric {
            name: $name,
            unit: $unit,
            kind: MetricKind::$kind,
            labels: &$labels,
            question: $question,
        };)*

        /// Holds every metric there is, in the order of the documentation.
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
        "How many transactions came to an outcome, and to which: `succeeded`, or the category of their error?";
    TRANSACTION_DURATION: "ergon.transaction.duration", "s", Histogram, ["outcome", "task"],
        "How long does a transaction take, from its first step to its outcome, retries and waits included?";
    STEP_DURATION: "ergon.step.duration", "s", Histogram, ["outcome", "step", "task"],
        "How long does a step take, all its attempts and the waits between them included, and how does it end?";
    ATTEMPTS: "ergon.attempts", "{attempt}", Counter, ["outcome", "step", "task"],
        "How often was a step tried, and how did each attempt end?";
    RETRIES: "ergon.retries", "{attempt}", Counter, ["category", "step", "task"],
        "How often was a step tried again, and after which category of error?";
    CALL_RETRIES: "ergon.call.retries", "{call}", Counter, ["category", "task"],
        "How often did a service or a function under `run_fn` try a call again by itself, and after which category of error?";
    BACKOFF_DURATION: "ergon.backoff.duration", "s", Histogram, ["step", "task"],
        "How long are the waits before a step is tried again?";
    TIMEOUTS: "ergon.timeouts", "{timeout}", Counter, ["step", "task"],
        "In which step does the time run out, the step's own or the whole transaction's?";
    IN_FLIGHT: "ergon.in_flight", "{transaction}", UpDownCounter, ["task"],
        "How many transactions are in one of their steps now?";
    CONCURRENCY_LIMIT: "ergon.concurrency.limit", "{transaction}", UpDownCounter, ["task"],
        "How many transactions may be in their steps at the same time?";
    FETCH_DURATION: "ergon.fetch.duration", "s", Histogram, ["task"],
        "How long does the source take to answer a fetch, waits for data included?";
    FETCH_BATCH_SIZE: "ergon.fetch.batch_size", "{transaction}", Histogram, ["task"],
        "How many transactions does a fetch bring that brings any?";
    FETCH_EMPTY: "ergon.fetch.empty", "{fetch}", Counter, ["task"],
        "How many fetches brought nothing?";
    SETTLEMENTS: "ergon.settlements", "{transaction}", Counter, ["disposition", "result", "task"],
        "What was the source told of its deliveries, and did it take that: `done`, `not_done` or `unknown`?";
    QUEUE_WAIT: "ergon.queue.wait", "s", Histogram, ["task"],
        "How old is a transaction when its first step begins?";
    DEAD_LETTERS: "ergon.dead_letters", "{transaction}", Counter, ["task"],
        "How many transactions did the dead-letter connector take?";
    DEAD_LETTERS_WAITING: "ergon.dead_letters.waiting", "{transaction}", UpDownCounter, ["task"],
        "How many dead letters wait because the dead-letter connector does not take them?";
    ABANDONED_THREADS: "ergon.abandoned_threads", "{thread}", UpDownCounter, ["task"],
        "How many threads are in a blocking handler that was given up and has not returned?";
    CONNECTOR_RECONNECTS: "ergon.connector.reconnects", "{connection}", Counter, ["connector", "purpose"],
        "How often did a connector connect again after it had lost its connection?";
    LEASES_LOST: "ergon.leases.lost", "{transaction}", Counter, ["connector"],
        "How many transactions did the other side take back because their lease was not extended in time?";
}

// ── spans ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Spans.
#[cfg(feature = "opentelemetry")]
pub(crate) mod span {
    /// A finite run of a task; its name is followed by the task's.
    pub(crate) const RUN: &str = "run";
    /// What one fetch brought, until all of it is settled.
    pub(crate) const BATCH: &str = "batch";
    /// The call to the source.
    pub(crate) const FETCH: &str = "fetch";
    /// A transaction, from its first step to its outcome. Its steps carry their own names.
    pub(crate) const TRANSACTION: &str = "transaction";
    /// One attempt of a step.
    pub(crate) const ATTEMPT: &str = "attempt";
    /// Transactions handed to a sink, until it has confirmed them.
    pub(crate) const DISPATCH: &str = "dispatch";
}

/// Attributes of the program itself.
#[cfg(feature = "opentelemetry")]
pub(crate) mod resource {
    pub(crate) const SERVICE_VERSION: &str = "service.version";
    /// One for each execution of the program.
    pub(crate) const INSTANCE_ID: &str = "service.instance.id";
    pub(crate) const PID: &str = "process.pid";
    pub(crate) const HOST: &str = "host.name";
    /// The task that runs, or the list of them.
    pub(crate) const TASK: &str = "ergon.task.name";
    /// Which of several workers, from 0.
    pub(crate) const WORKER: &str = "ergon.worker.index";
}

/// Attributes of spans. Those that do not begin with `ergon.` are of OpenTelemetry's semantic conventions 1.37:
/// <https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>.
#[cfg(feature = "opentelemetry")]
pub(crate) mod attribute {
    pub(crate) const TASK: &str = "ergon.task.name";
    pub(crate) const TRANSACTION_ID: &str = "ergon.transaction.id";
    /// How often the source has handed the transaction out.
    pub(crate) const DELIVERIES: &str = "ergon.deliveries";
    /// From 1.
    pub(crate) const ATTEMPT: &str = "ergon.attempt";
    pub(crate) const MAX_ATTEMPTS: &str = "ergon.max_attempts";
    /// `succeeded`, `handled`, `handler_failed` or `aborted`.
    pub(crate) const OUTCOME: &str = "ergon.outcome";
    /// `business`, `system` or `timeout`.
    pub(crate) const CATEGORY: &str = "ergon.category";
    /// What becomes of the transaction: `ack`, `reject`, `dead_letter`, `requeue` or `retry_after`.
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
            let Metric { name, unit, kind, question, .. } = metric;
            let kind = kind.as_str();
            let row = format!(
                "| `{name}` | `{}` | {kind} | `{unit}` | {labels} | {question} |",
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
    fn the_page_tells_of_every_span_and_attribute() {
        let page = include_str!("../../../docs/observability.md");
        let (_, spans) = include_str!("names.rs").split_once("── spans").unwrap();
        let constants = spans.lines().filter(|line| line.trim_start().starts_with("pub(crate) const"));
        let names: Vec<&str> = constants.filter_map(|line| line.split('"').nth(1)).collect();
        assert!(names.len() > 20, "{names:?}");
        for name in names {
            assert!(page.contains(&format!("`{name}")), "docs/observability.md does not tell of `{name}`");
        }
    }
}
