//! Reads the gauges from the loops when the meter provider collects, so that a running loop records nothing for them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use super::Levels;
use crate::telemetry::names::{self, Metric};

/// The loops of this process, including ended loops whose threads have not all returned.
static LOOPS: Mutex<Loops> = Mutex::new(Loops { watched: Vec::new(), ended: BTreeMap::new() });

struct Loops {
    watched: Vec<Watched>,
    /// Tasks that had a loop, so that their gauges fall to 0.
    ended: BTreeMap<&'static str, Sum>,
}

/// A loop that is watched.
pub(super) struct Watched {
    pub(super) task: &'static str,
    /// None when the loop has ended.
    pub(super) levels: Box<dyn Fn() -> Option<Levels> + Send + Sync>,
    /// The number of threads in an abandoned call.
    pub(super) stuck: Box<dyn Fn() -> usize + Send + Sync>,
}

/// The gauges of all loops of a task.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    levels: Levels,
    stuck: usize,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.task).finish()
    }
}

/// Watches a loop until it ends.
pub(super) fn watch(watched: Watched) {
    LOOPS.lock().unwrap_or_else(PoisonError::into_inner).watched.push(watched);
}

/// Registers the reading of the gauges with the provider.
pub(super) fn observe(meter: &Meter) {
    level(meter, &names::IN_FLIGHT, |sum| sum.levels.in_flight);
    level(meter, &names::CONCURRENCY_LIMIT, |sum| sum.levels.limit);
    level(meter, &names::DEAD_LETTERS_WAITING, |sum| sum.levels.undelivered);
    level(meter, &names::ABANDONED_THREADS, |sum| sum.stuck);
}

fn level(meter: &Meter, metric: &Metric, figure: fn(&Sum) -> usize) {
    let builder = meter.i64_observable_up_down_counter(metric.name).with_unit(metric.unit);
    // The provider keeps the callbacks.
    let _ = builder
        .with_description(metric.description)
        .with_callback(move |observer| {
            for (task, sum) in sums() {
                let figure = i64::try_from(figure(&sum)).unwrap_or(i64::MAX);
                observer.observe(figure, &[KeyValue::new("task", task)]);
            }
        })
        .build();
}

fn sums() -> BTreeMap<&'static str, Sum> {
    let mut loops = LOOPS.lock().unwrap_or_else(PoisonError::into_inner);
    let Loops { watched, ended } = &mut *loops;
    let mut sums = ended.clone();
    watched.retain(|Watched { task, levels, stuck }| {
        let (levels, stuck) = (levels(), stuck());
        let sum = sums.entry(task).or_default();
        sum.stuck += stuck;
        ended.entry(task).or_default();
        if let Some(levels) = levels {
            sum.levels.in_flight += levels.in_flight;
            sum.levels.limit += levels.limit;
            sum.levels.undelivered += levels.undelivered;
        }
        levels.is_some() || stuck > 0
    });
    sums
}
