//! Changes to a policy: each value that is given replaces the one that stands.

use std::time::Duration;

use serde::Deserialize;

use super::consumer::OnHandlerFailure;
use super::duration::{Limit, Span};
use super::{ConsumerPolicy, EmptyQueuePolicy, Mode, ProducerPolicy, RetryPolicy};

/// Sets each field of a policy that this layer gives.
macro_rules! overlay {
    ($layer:expr => $policy:expr; $($field:ident $(as $convert:expr)?),*) => {$(
        if let Some(value) = $layer.$field {
            $policy.$field = overlay!(@ value $(, $convert)?);
        }
    )*};
    (@ $value:ident) => { $value };
    (@ $value:ident, $convert:expr) => { $convert($value) };
}

/// Changes to a [`ConsumerPolicy`], as they stand in `[tasks.<name>.consumer]`, the environment or the command line.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsumerLayer {
    concurrency: Option<usize>,
    batch_size: Option<usize>,
    prefetch: Option<usize>,
    mode: Option<Mode>,
    streaming: Option<bool>,
    limit: Option<u64>,
    timeout: Option<Span>,
    transaction_timeout: Option<Limit>,
    empty_queue: EmptyQueueLayer,
    fetch: RetryLayer,
    process: RetryLayer,
    success: RetryLayer,
    exception: RetryLayer,
    on_handler_failure: Option<OnHandlerFailure>,
    max_deliveries: Option<u32>,
    shutdown_grace: Option<Span>,
}

impl ConsumerLayer {
    /// Changes `policy`.
    pub fn apply(self, policy: &mut ConsumerPolicy) {
        overlay!(self => policy; concurrency, batch_size, prefetch, mode, streaming, on_handler_failure,
            max_deliveries, limit as Some, timeout as |Span(duration)| Some(duration), transaction_timeout as |Limit(limit)| limit,
            shutdown_grace as |Span(duration)| duration);
        self.empty_queue.apply(&mut policy.empty_queue);
        self.fetch.apply(&mut policy.fetch);
        self.process.apply(&mut policy.process);
        self.success.apply(&mut policy.success);
        self.exception.apply(&mut policy.exception);
    }

    /// Sets the most transactions in flight.
    #[must_use]
    pub fn concurrency(mut self, concurrency: Option<usize>) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Sets how many deliveries one fetch may bring.
    #[must_use]
    pub fn batch_size(mut self, batch_size: Option<usize>) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// Sets how many deliveries the run fetches at most.
    #[must_use]
    pub fn limit(mut self, limit: Option<u64>) -> Self {
        self.limit = limit;
        self
    }

    /// Sets how long the run may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout.map(Span);
        self
    }

    /// Sets whether the run goes on when the source is empty.
    #[must_use]
    pub fn streaming(mut self, streaming: Option<bool>) -> Self {
        self.streaming = streaming;
        self
    }
}

/// Changes to a [`ProducerPolicy`], as they stand in `[tasks.<name>.producer]`, the environment or the command line.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProducerLayer {
    concurrency: Option<usize>,
    batch_size: Option<usize>,
    limit: Option<u64>,
    timeout: Option<Span>,
    transaction_timeout: Option<Limit>,
    prepare: RetryLayer,
    success: RetryLayer,
    exception: RetryLayer,
    on_handler_failure: Option<OnHandlerFailure>,
    max_deliveries: Option<u32>,
    shutdown_grace: Option<Span>,
}

impl ProducerLayer {
    /// Changes `policy`.
    pub fn apply(self, policy: &mut ProducerPolicy) {
        overlay!(self => policy; concurrency, batch_size, on_handler_failure, max_deliveries, limit as Some,
            timeout as |Span(duration)| Some(duration), transaction_timeout as |Limit(limit)| limit,
            shutdown_grace as |Span(duration)| duration);
        self.prepare.apply(&mut policy.prepare);
        self.success.apply(&mut policy.success);
        self.exception.apply(&mut policy.exception);
    }
}

impl From<ConsumerLayer> for ProducerLayer {
    /// What both kinds of task have in common.
    fn from(layer: ConsumerLayer) -> Self {
        let ConsumerLayer { concurrency, batch_size, limit, timeout, .. } = layer;
        Self { concurrency, batch_size, limit, timeout, ..Self::default() }
    }
}

/// Changes to an [`EmptyQueuePolicy`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EmptyQueueLayer {
    backoff: Option<Span>,
    backoff_multiplier: Option<f64>,
    backoff_cap: Option<Span>,
}

impl EmptyQueueLayer {
    fn apply(self, policy: &mut EmptyQueuePolicy) {
        overlay!(self => policy; backoff as |Span(duration)| duration, backoff_multiplier,
            backoff_cap as |Span(duration)| duration);
    }
}

/// Changes to a [`RetryPolicy`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetryLayer {
    max_attempts: Option<u32>,
    timeout: Option<Span>,
    backoff: Option<Span>,
    backoff_multiplier: Option<f64>,
    backoff_cap: Option<Span>,
    jitter: Option<f64>,
}

impl RetryLayer {
    pub(crate) fn apply(self, policy: &mut RetryPolicy) {
        overlay!(self => policy; max_attempts, timeout as |Span(duration)| Some(duration), backoff as |Span(duration)| duration,
            backoff_multiplier, backoff_cap as |Span(duration)| Some(duration), jitter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(text: &str) -> ConsumerLayer {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn only_what_is_given_changes() {
        let mut policy = ConsumerPolicy { batch_size: 7, ..ConsumerPolicy::DEFAULT };
        layer("concurrency = 4\ntransaction_timeout = 'none'\n[process]\nbackoff = '2s'").apply(&mut policy);
        assert_eq!((policy.concurrency, policy.batch_size, policy.transaction_timeout), (4, 7, None));
        assert_eq!(policy.process.backoff, Duration::from_secs(2));
        assert_eq!(policy.process.max_attempts, 1);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(toml::from_str::<ConsumerLayer>("concurency = 4").is_err());
    }
}
