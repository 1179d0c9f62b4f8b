//! The names of what can be seen, each in one place.

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
