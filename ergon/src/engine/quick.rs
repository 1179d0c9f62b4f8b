//! Defines the duration below which a transaction counts as quick, so that no lane is woken for work that ends before
//! the woken lane could start.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The limit in nanoseconds, 2 µs by default: a quick transaction ends before another thread could have been woken.
/// After a quick transaction, a lane takes the next delivery without waking another lane for the rest.
static LIMIT: AtomicU64 = AtomicU64::new(2_000);

/// Returns the limit. A loop reads the limit once, when the loop is made.
pub(super) fn limit() -> Duration {
    Duration::from_nanos(LIMIT.load(Ordering::Relaxed))
}

/// Sets the limit for all loops of this process that are made later.
///
/// Benchmarks and tests need this function because the limit is a time: under `valgrind` no transaction ends within
/// 2 µs, so a benchmark that counts instructions would measure lanes that wake each other.
pub fn set_quick_limit(limit: Duration) {
    let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    LIMIT.store(nanos, Ordering::Relaxed);
}
