//! Adds up received metrics as a collector does.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, HistogramDataPoint, Metric, NumberDataPoint,
};

use super::seen::{Attributes, attributes};

/// One series of a metric, with its latest value.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Series {
    /// The metric's name.
    pub name: String,
    /// The metric's unit.
    pub unit: String,
    /// The description of the metric.
    pub description: String,
    /// The labels of the series.
    pub labels: Attributes,
    /// The attributes of the resource.
    pub resource: Attributes,
    /// The latest value. Differences are added up.
    pub figure: Figure,
    /// Whether the last value was the difference from the value before.
    pub delta: bool,
}

/// The value of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum Figure {
    /// A sum.
    Sum {
        /// The sum.
        value: f64,
        /// Whether the sum never falls.
        monotonic: bool,
    },
    /// A current value.
    Gauge(f64),
    /// A histogram.
    Histogram {
        /// The number of recorded values.
        count: u64,
        /// The sum of the recorded values.
        sum: f64,
        /// The upper bound of each bucket. The last bucket has none.
        bounds: Vec<f64>,
        /// The number of values in each bucket, one more than there are bounds.
        buckets: Vec<u64>,
    },
}

impl Series {
    /// The amount of the value: a sum, a latest value, or the sum of a histogram.
    pub fn total(&self) -> f64 {
        match self.figure {
            Figure::Sum { value, .. } | Figure::Gauge(value) => value,
            Figure::Histogram { sum, .. } => sum,
        }
    }

    /// The number of values that a histogram recorded; none for other metrics.
    pub fn count(&self) -> u64 {
        match self.figure {
            Figure::Histogram { count, .. } => count,
            Figure::Sum { .. } | Figure::Gauge(_) => 0,
        }
    }
}

/// Adds received series to the existing series.
pub(super) fn add(all: &mut Vec<Series>, metric: Metric, resource: &Attributes) {
    let Metric { name, description, unit, data, .. } = metric;
    let is_delta = |temporality: AggregationTemporality| temporality == AggregationTemporality::Delta;
    let (delta, points): (bool, Vec<(Vec<KeyValue>, Figure)>) = match data {
        Some(Data::Gauge(gauge)) => (false, numbers(gauge.data_points, Figure::Gauge)),
        Some(Data::Sum(sum)) => {
            let (delta, monotonic) = (is_delta(sum.aggregation_temporality()), sum.is_monotonic);
            (delta, numbers(sum.data_points, |value| Figure::Sum { value, monotonic }))
        }
        Some(Data::Histogram(histogram)) => {
            let delta = is_delta(histogram.aggregation_temporality());
            (delta, histogram.data_points.into_iter().map(recorded).collect())
        }
        other => panic!("not expected of metric {name}: {other:?}"),
    };
    for (labels, figure) in points {
        let (name, unit, description) = (name.clone(), unit.clone(), description.clone());
        let labels = attributes(labels);
        put(all, Series { name, unit, description, labels, resource: resource.clone(), figure, delta });
    }
}

fn numbers(points: Vec<NumberDataPoint>, figure: impl Fn(f64) -> Figure) -> Vec<(Vec<KeyValue>, Figure)> {
    let number = |value| match value {
        Some(Number::AsDouble(value)) => value,
        #[expect(clippy::cast_precision_loss, reason = "no test counts that far")]
        Some(Number::AsInt(value)) => value as f64,
        None => 0.0,
    };
    points.into_iter().map(|point| (point.attributes, figure(number(point.value)))).collect()
}

fn recorded(point: HistogramDataPoint) -> (Vec<KeyValue>, Figure) {
    let HistogramDataPoint { attributes, count, sum, explicit_bounds, bucket_counts, .. } = point;
    let sum = sum.unwrap_or_default();
    (attributes, Figure::Histogram { count, sum, bounds: explicit_bounds, buckets: bucket_counts })
}

fn put(all: &mut Vec<Series>, new: Series) {
    let same = |old: &&mut Series| {
        (&old.name, &old.labels, &old.resource) == (&new.name, &new.labels, &new.resource)
    };
    match all.iter_mut().find(same) {
        Some(old) if new.delta => {
            old.figure.grow(new.figure);
            old.delta = true;
        }
        Some(old) => *old = new,
        None => all.push(new),
    }
}

impl Figure {
    fn grow(&mut self, by: Self) {
        match (self, by) {
            (Self::Sum { value, .. }, Self::Sum { value: more, .. }) => *value += more,
            (
                Self::Histogram { count, sum, buckets, .. },
                Self::Histogram { count: times, sum: more, buckets: others, .. },
            ) => {
                *count += times;
                *sum += more;
                buckets.iter_mut().zip(others).for_each(|(bucket, other)| *bucket += other);
            }
            (old, new) => *old = new,
        }
    }
}
