//! Serves metrics to Prometheus: reads them on each request, and renders them as text.

use std::collections::HashMap;
use std::sync::OnceLock;

use opentelemetry_prometheus::{PrometheusExporter, exporter};
use opentelemetry_sdk::error::OTelSdkError;
use prometheus::{Registry, TextEncoder};

/// The registry of the metrics of the process, if it exposes any.
static REGISTRY: OnceLock<Registry> = OnceLock::new();

/// Creates the reader of the metrics of the process. With several workers, each series has the index of its worker.
///
/// # Errors
/// The registry does not accept the reader.
pub(crate) fn install(worker: Option<usize>) -> Result<PrometheusExporter, OTelSdkError> {
    let (reader, registry) = reader(worker)?;
    let _ = REGISTRY.set(registry);
    Ok(reader)
}

/// The metrics of the process as text; `None` if it has none.
pub(crate) fn text() -> Option<String> {
    render(REGISTRY.get()?).ok().filter(|text| !text.is_empty())
}

/// Creates a reader for the provider of the process, and its registry.
///
/// # Errors
/// The registry does not accept the reader.
fn reader(worker: Option<usize>) -> Result<(PrometheusExporter, Registry), OTelSdkError> {
    let labels = worker.map(|worker| HashMap::from([("worker".to_owned(), worker.to_string())]));
    let registry = Registry::new_custom(None, labels)
        .map_err(|error| OTelSdkError::InternalFailure(error.to_string()))?;
    // The scope is always the same, so its labels would only make each line longer.
    let reader = exporter().with_registry(registry.clone()).scope_info_enabled(false).build()?;
    Ok((reader, registry))
}

/// Renders the current values, in the media type [`prometheus::TEXT_FORMAT`].
///
/// # Errors
/// A metric cannot be written as text.
fn render(registry: &Registry) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(&registry.gather())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::metrics::SdkMeterProvider;
    use tokio::time::Instant;

    use super::*;
    use crate::telemetry::lease::LeaseLost;
    use crate::telemetry::link::LinkRestored;
    use crate::telemetry::metrics::{self, End, Levels, Meters};
    use crate::telemetry::{METRICS, MetricKind, Step, Tally};
    use crate::transaction::{Category, Transaction};

    /// Records a value of each metric.
    fn work(meters: &Meters) {
        let mut tally = Tally::default();
        let mut batch = meters.batch(&tally);
        let began = Instant::now();
        let mut course = meters.begin(began, &Transaction::new("a", &1).unwrap());
        course.ended(Step::Process, End::Succeeded);
        let course = course.over(began, Instant::now());
        batch.step(Step::Process, Duration::from_millis(20), &course);
        batch.transaction(&course, None);
        batch.settled("ack");
        (tally.succeeded, tally.dead_lettered) = (3, 1);
        batch.end(&tally);
        meters.fetched(5, meters.now());
        meters.fetched(0, meters.now());
        meters.attempted("process", Some(Category::Timeout));
        meters.backs_off("process", Duration::from_secs(1));
        meters.retried("process", Category::System);
        meters.watch(|| Some(Levels { in_flight: 2, limit: 8, undelivered: 0 }), || 1);
        let (connector, purpose) = ("ship-orders.input", "consume");
        LinkRestored { connector, purpose, place: &"a broker", down: Duration::ZERO }.emit();
        LeaseLost { connector, count: 2, reason: "taken back" }.emit();
        metrics::call_retried("ship-orders", Category::System);
    }

    #[test]
    fn names_and_labels_are_those_an_operator_expects() {
        let (reader, registry) = reader(None).unwrap();
        let resource = Resource::builder_empty().with_service_name("orders").build();
        metrics::install(SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build());
        work(&Meters::of("ship-orders"));
        let text = render(&registry).unwrap();
        for line in [
            r#"ergon_transactions_total{outcome="succeeded",task="ship-orders"} 3"#,
            r#"ergon_dead_letters_total{task="ship-orders"} 1"#,
            r#"ergon_in_flight{task="ship-orders"} 2"#,
            r#"ergon_concurrency_limit{task="ship-orders"} 8"#,
            r#"ergon_abandoned_threads{task="ship-orders"} 1"#,
            r#"ergon_step_duration_seconds_bucket{outcome="succeeded",step="process",task="ship-orders",le="0.01"} 0"#,
            r#"ergon_step_duration_seconds_bucket{outcome="succeeded",step="process",task="ship-orders",le="0.025"} 1"#,
            r#"ergon_fetch_batch_size_sum{task="ship-orders"} 5"#,
            r#"ergon_timeouts_total{step="process",task="ship-orders"} 1"#,
            r#"ergon_connector_reconnects_total{connector="ship-orders.input",purpose="consume"} 1"#,
            r#"ergon_leases_lost_total{connector="ship-orders.input"} 2"#,
            r#"target_info{service_name="orders"} 1"#,
        ] {
            assert!(text.lines().any(|written| written == line), "no line\n{line}\nin\n{text}");
        }
        for metric in METRICS {
            let kind = match metric.kind {
                MetricKind::Counter => "counter",
                MetricKind::UpDownCounter => "gauge",
                MetricKind::Histogram => "histogram",
            };
            let line = format!("# TYPE {} {kind}", metric.prometheus_name());
            assert!(text.lines().any(|written| written == line), "{line}\nin\n{text}");
        }
    }
}
