//! Writes spans and metrics as lines to the console, for development.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, Status};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// Writes whole lines.
#[derive(Clone)]
pub(crate) struct WriteLine(Arc<dyn Fn(&str) + Send + Sync>);

impl WriteLine {
    pub(crate) fn new(write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    pub(crate) fn write(&self, line: &str) {
        (self.0)(line);
    }
}

impl fmt::Debug for WriteLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WriteLine")
    }
}

/// Writes one line for each span.
#[derive(Debug)]
pub(super) struct Spans(WriteLine);

impl Spans {
    pub(super) fn new(write: &WriteLine) -> Self {
        Self(write.clone())
    }
}

impl SpanExporter for Spans {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        for span in batch {
            let took = span.end_time.duration_since(span.start_time).unwrap_or_default();
            let (trace_id, span_id) = (span.span_context.trace_id(), span.span_context.span_id());
            let mut line = format!("span {} {took:?} trace_id={trace_id} span_id={span_id}", span.name);
            if span.parent_span_id != SpanId::INVALID {
                let _ = write!(line, " parent={}", span.parent_span_id);
            }
            fields(&mut line, span.attributes.iter());
            if let Status::Error { description } = &span.status {
                let _ = write!(line, " error={description:?}");
            }
            line.push('\n');
            self.0.write(&line);
        }
        Ok(())
    }
}

fn fields<'a>(line: &mut String, attributes: impl Iterator<Item = &'a KeyValue>) {
    for attribute in attributes {
        // Writing to a String cannot fail. The value is quoted, so that the line stays one line.
        let _ = write!(line, " {}={:?}", attribute.key, attribute.value.as_str());
    }
}

/// Writes one line for each series.
#[derive(Debug)]
pub(super) struct Metrics(WriteLine);

impl Metrics {
    pub(super) fn new(write: &WriteLine) -> Self {
        Self(write.clone())
    }

    fn series<'a>(
        &self,
        name: &str,
        attributes: impl Iterator<Item = &'a KeyValue>,
        value: &dyn fmt::Display,
    ) {
        let mut line = format!("metric {name} {value}");
        fields(&mut line, attributes);
        line.push('\n');
        self.0.write(&line);
    }

    fn data<T: fmt::Display + Copy>(&self, name: &str, data: &MetricData<T>) {
        match data {
            MetricData::Gauge(gauge) => {
                gauge.data_points().for_each(|point| self.series(name, point.attributes(), &point.value()));
            }
            MetricData::Sum(sum) => {
                sum.data_points().for_each(|point| self.series(name, point.attributes(), &point.value()));
            }
            MetricData::Histogram(histogram) => histogram.data_points().for_each(|point| {
                let value = format!("count={} sum={}", point.count(), point.sum());
                self.series(name, point.attributes(), &value);
            }),
            MetricData::ExponentialHistogram(_) => {}
        }
    }
}

impl PushMetricExporter for Metrics {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        for metric in metrics.scope_metrics().flat_map(ScopeMetrics::metrics) {
            match metric.data() {
                AggregatedMetrics::F64(data) => self.data(metric.name(), data),
                AggregatedMetrics::U64(data) => self.data(metric.name(), data),
                AggregatedMetrics::I64(data) => self.data(metric.name(), data),
            }
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}
