//! Nests the user's own `tracing` spans in the attempt of their handler. The spans are recorded if the transaction is
//! sampled.
//!
//! The layer that records `tracing` spans reads the current context of the library. To set the context at each poll of each
//! handler would slow all handlers down, so the context is set only while a span is created: one layer before the library's
//! layer sets it, and one layer after it resets it.

use std::cell::RefCell;

use opentelemetry::trace::{TraceContextExt, TraceId};
use opentelemetry::{Context as Otel, ContextGuard};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::span::{Attributes, Id};
use tracing::{Metadata, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::{LevelFilter, dynamic_filter_fn};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::span::span_context;
use crate::telemetry::Scope;
use crate::telemetry::propagation::{Place, TraceContext};

thread_local! {
    static SET: RefCell<Option<ContextGuard>> = const { RefCell::new(None) };
}

/// The layer that records `tracing` spans of level `INFO` and above.
pub(crate) fn layer<S>(tracer: SdkTracer) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let filter =
        dynamic_filter_fn(|metadata, _| is_recorded(metadata)).with_max_level_hint(LevelFilter::INFO);
    let spans = OpenTelemetryLayer::new(tracer).with_threads(false).with_tracked_inactivity(false);
    Before.and_then(spans.with_filter(filter)).and_then(Behind).boxed()
}

/// The spans of client libraries are not the user's spans.
const CLIENTS: [&str; 8] =
    ["h2", "hyper", "hyper_util", "lapin", "opentelemetry", "reqwest", "tonic", "tower"];

fn is_recorded(metadata: &Metadata<'_>) -> bool {
    let krate = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= LevelFilter::INFO && !CLIENTS.contains(&krate) && !is_in_what_is_not_sampled()
}

fn is_in_what_is_not_sampled() -> bool {
    Scope::with_current(|scope| {
        scope.and_then(|scope| scope.trace.as_ref()).is_some_and(|place| !place.context.sampled)
    })
}

/// The position of the running code: in the user's own span if there is one, otherwise in its attempt.
pub(crate) fn current(place: Option<&Place>) -> Option<TraceContext> {
    let own = Otel::map_current(|context| {
        let span = context.span();
        let span = span.span_context();
        span.is_valid().then(|| TraceContext {
            trace_id: u128::from_be_bytes(span.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(span.span_id().to_bytes()),
            sampled: span.is_sampled(),
        })
    });
    match (own, place) {
        (Some(own), Some(place)) if own.trace_id != place.context.trace_id => Some(place.context),
        (own, place) => own.or(place.map(|place| place.context)),
    }
}

struct Before;

impl<S: Subscriber> Layer<S> for Before {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let place = Scope::with_current(|scope| scope?.trace.clone()).filter(|place| place.context.sampled);
        let Some(Place { context, state }) = place else { return };
        let inside = Otel::map_current(|current| current.span().span_context().trace_id());
        if inside != TraceId::from(context.trace_id) {
            let context = span_context(context, state.as_ref(), false);
            let set = Otel::current().with_remote_span_context(context).attach();
            SET.with(|guard| guard.replace(Some(set)));
        }
    }
}

struct Behind;

impl<S: Subscriber> Layer<S> for Behind {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        SET.with(RefCell::take);
    }
}
