//! Creates the instruments of the process, once, from its meter provider.

use std::sync::OnceLock;

use opentelemetry::global;
use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;

use super::levels;
use crate::telemetry::names::{self, Metric};

/// The bounds of times of steps, transactions and waits: from 10 µs to 10 min.
const SECONDS: [f64; 24] = [
    10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

/// The bounds of the sizes of fetches.
const COUNTS: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0];

static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();

/// Starts the metrics of the process: later loops record with `provider`, and so do the user's own instruments. Only the
/// first provider counts.
pub(crate) fn install(provider: SdkMeterProvider) {
    INSTRUMENTS.get_or_init(|| {
        let instruments = Instruments::new(&provider.meter("ergon"));
        global::set_meter_provider(provider);
        instruments
    });
}

/// The instruments, if metrics are on.
pub(super) fn installed() -> Option<&'static Instruments> {
    INSTRUMENTS.get()
}

/// The instruments. The provider reads gauges when it collects.
#[derive(Debug)]
pub(super) struct Instruments {
    pub(super) transactions: Counter<u64>,
    pub(super) transaction_duration: Histogram<f64>,
    pub(super) step_duration: Histogram<f64>,
    pub(super) attempts: Counter<u64>,
    pub(super) retries: Counter<u64>,
    pub(super) call_retries: Counter<u64>,
    pub(super) backoff_duration: Histogram<f64>,
    pub(super) timeouts: Counter<u64>,
    pub(super) fetch_duration: Histogram<f64>,
    pub(super) fetch_batch_size: Histogram<f64>,
    pub(super) fetch_empty: Counter<u64>,
    pub(super) settlements: Counter<u64>,
    pub(super) queue_wait: Histogram<f64>,
    pub(super) dead_letters: Counter<u64>,
    pub(super) reconnects: Counter<u64>,
    pub(super) leases_lost: Counter<u64>,
}

impl Instruments {
    fn new(meter: &Meter) -> Self {
        levels::observe(meter);
        Self {
            transactions: counter(meter, &names::TRANSACTIONS),
            transaction_duration: histogram(meter, &names::TRANSACTION_DURATION),
            step_duration: histogram(meter, &names::STEP_DURATION),
            attempts: counter(meter, &names::ATTEMPTS),
            retries: counter(meter, &names::RETRIES),
            call_retries: counter(meter, &names::CALL_RETRIES),
            backoff_duration: histogram(meter, &names::BACKOFF_DURATION),
            timeouts: counter(meter, &names::TIMEOUTS),
            fetch_duration: histogram(meter, &names::FETCH_DURATION),
            fetch_batch_size: histogram(meter, &names::FETCH_BATCH_SIZE),
            fetch_empty: counter(meter, &names::FETCH_EMPTY),
            settlements: counter(meter, &names::SETTLEMENTS),
            queue_wait: histogram(meter, &names::QUEUE_WAIT),
            dead_letters: counter(meter, &names::DEAD_LETTERS),
            reconnects: counter(meter, &names::CONNECTOR_RECONNECTS),
            leases_lost: counter(meter, &names::LEASES_LOST),
        }
    }
}

fn counter(meter: &Meter, metric: &Metric) -> Counter<u64> {
    let builder = meter.u64_counter(metric.name).with_unit(metric.unit);
    builder.with_description(metric.description).build()
}

fn histogram(meter: &Meter, metric: &Metric) -> Histogram<f64> {
    let bounds = if metric.unit == "s" { SECONDS.to_vec() } else { COUNTS.to_vec() };
    let builder = meter.f64_histogram(metric.name).with_unit(metric.unit).with_boundaries(bounds);
    builder.with_description(metric.description).build()
}
