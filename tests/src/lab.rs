//! Measures one run of this process: the growth of all its metrics.
//!
//! A process has one meter provider with two readers. One reader reports differences, as lines that a test can name.
//! The other reader reports sums, which must have grown by the same amount.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use ergon::telemetry::{METRICS, Metric, MetricKind};
use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics};
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, InMemoryMetricExporterBuilder, PeriodicReader, SdkMeterProvider, Temporality,
    data,
};
use tokio::sync::{Mutex, MutexGuard};

/// The growth of metrics, or their current values: by name and labels, the number of values and their sum.
pub type Figures = BTreeMap<String, (u64, f64)>;

/// The only provider of the process, for one test at a time.
#[derive(Debug)]
pub struct Lab {
    provider: SdkMeterProvider,
    differences: InMemoryMetricExporter,
    sums: InMemoryMetricExporter,
    alone: Mutex<()>,
}

/// A test that has the provider for itself.
#[derive(Debug)]
pub struct Measuring {
    lab: &'static Lab,
    before: Figures,
    _alone: MutexGuard<'static, ()>,
}

/// Waits for the provider, and starts to measure.
pub async fn measure() -> Measuring {
    static LAB: OnceLock<Lab> = OnceLock::new();
    let lab = LAB.get_or_init(Lab::new);
    let alone = lab.alone.lock().await;
    let before = lab.sums();
    lab.differences.reset();
    Measuring { lab, before, _alone: alone }
}

impl Lab {
    fn new() -> Self {
        let exporter =
            |temporality| InMemoryMetricExporterBuilder::new().with_temporality(temporality).build();
        let (differences, sums) = (exporter(Temporality::Delta), exporter(Temporality::Cumulative));
        // The reader reads only on request.
        let never = Duration::from_secs(3600);
        let reader = |exporter: &InMemoryMetricExporter| {
            PeriodicReader::builder(exporter.clone()).with_interval(never).build()
        };
        let provider =
            SdkMeterProvider::builder().with_reader(reader(&differences)).with_reader(reader(&sums)).build();
        ergon::__private::install_metrics(provider.clone());
        Self { provider, differences, sums, alone: Mutex::default() }
    }

    /// The current values of the metrics.
    fn sums(&self) -> Figures {
        self.sums.reset();
        self.provider.force_flush().expect("memory takes all");
        told(&self.sums)
    }

    /// The growth of the metrics since the exporter was reset.
    fn differences(&self) -> Figures {
        self.provider.force_flush().expect("memory takes all");
        told(&self.differences)
    }
}

/// The sum of everything that an exporter received.
fn told(exporter: &InMemoryMetricExporter) -> Figures {
    let told = exporter.get_finished_metrics().expect("memory keeps all");
    let metrics = told.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(ScopeMetrics::metrics);
    let mut all = Figures::new();
    for (series, (count, sum)) in metrics.flat_map(figures) {
        let (counts, sums) = all.entry(series).or_default();
        *counts += count;
        *sums += sum;
    }
    all
}

impl Measuring {
    /// The current values of a task's metrics: levels, and the counts of the whole process.
    pub fn now(&self, task: &str) -> Figures {
        of_task(self.lab.sums(), task)
    }

    /// The growth of a task's metrics, by number and sum.
    ///
    /// # Panics
    /// Panics if differences and sums disagree, or if a metric differs from the table of metrics.
    pub fn grown(&self, task: &str) -> Figures {
        let differences = self.lab.differences();
        let mut gained = Figures::new();
        for (series, (count, sum)) in self.lab.sums() {
            let (count_before, sum_before) = self.before.get(&series).copied().unwrap_or_default();
            let (count, sum) = (count - count_before, sum - sum_before);
            let told = differences.get(&series).copied().unwrap_or_default();
            let agree = is_level(&series) || (count == told.0 && (sum - told.1).abs() < 1e-6);
            assert!(agree, "{series}: the sums grew by {count}, {sum}, the differences say {told:?}");
            if count > 0 || sum > 0.0 {
                gained.insert(series, (count, sum));
            }
        }
        of_task(gained, task)
    }

    /// The same without its levels, as lines: `ergon.attempts{step=process} 3`, and of histograms the number and the
    /// sum, `ergon.step.duration{step=process} 3x 0.030`. The sum of the queue wait, which is by the clock of the
    /// machine, is left out.
    ///
    /// # Panics
    /// As [`grown`](Self::grown).
    pub fn gained(&self, task: &str) -> Vec<String> {
        self.grown(task).iter().filter_map(|(series, figure)| line(series, *figure)).collect()
    }
}

fn line(series: &str, (count, sum): (u64, f64)) -> Option<String> {
    match metric(series).kind {
        MetricKind::UpDownCounter => None,
        MetricKind::Histogram if series.starts_with("ergon.queue.wait") => Some(format!("{series} {count}x")),
        MetricKind::Histogram => Some(format!("{series} {count}x {sum:.3}")),
        _ => Some(format!("{series} {sum}")),
    }
}

fn metric(series: &str) -> &'static Metric {
    let name = series.split('{').next().unwrap_or_default();
    let known = METRICS.iter().find(|metric| metric.name == name);
    known.unwrap_or_else(|| panic!("{series} is not in the table of metrics"))
}

fn is_level(series: &str) -> bool {
    metric(series).kind == MetricKind::UpDownCounter
}

/// The series of a task, without the label that says so.
fn of_task(figures: Figures, task: &str) -> Figures {
    let (label, alone) = (format!(",task={task}}}"), format!("{{task={task}}}"));
    let is_own = |series: &String| series.ends_with(&label) || series.ends_with(&alone);
    let own = figures.into_iter().filter(|(series, _)| is_own(series));
    own.map(|(series, figure)| (series.replace(&label, "}").replace(&alone, ""), figure)).collect()
}

/// The series of a metric, which must agree with the table.
fn figures(told: &data::Metric) -> Vec<(String, (u64, f64))> {
    let metric = metric(told.name());
    assert_eq!((told.unit(), told.description()), (metric.unit, metric.description), "{}", told.name());
    #[expect(clippy::cast_precision_loss, reason = "no test counts that far")]
    match told.data() {
        AggregatedMetrics::U64(MetricData::Sum(sum)) => {
            assert!(metric.kind == MetricKind::Counter && sum.is_monotonic(), "{}", metric.name);
            sum.data_points()
                .map(|point| (series(metric, point.attributes()), (0, point.value() as f64)))
                .collect()
        }
        AggregatedMetrics::I64(MetricData::Sum(sum)) => {
            assert!(metric.kind == MetricKind::UpDownCounter && !sum.is_monotonic(), "{}", metric.name);
            sum.data_points()
                .map(|point| (series(metric, point.attributes()), (0, point.value() as f64)))
                .collect()
        }
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
            assert_eq!(metric.kind, MetricKind::Histogram, "{}", metric.name);
            let recorded = |point: &data::HistogramDataPoint<f64>| (point.count(), point.sum());
            histogram
                .data_points()
                .map(|point| (series(metric, point.attributes()), recorded(point)))
                .collect()
        }
        other => panic!("not expected of {}: {other:?}", metric.name),
    }
}

fn series<'a>(metric: &Metric, labels: impl Iterator<Item = &'a KeyValue>) -> String {
    let labels: BTreeMap<_, _> =
        labels.map(|label| (label.key.to_string(), label.value.to_string())).collect();
    assert!(
        labels.keys().map(String::as_str).eq(metric.labels.iter().copied()),
        "{}: {labels:?}",
        metric.name
    );
    let pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{}{{{}}}", metric.name, pairs.join(","))
}
