//! Waits for a condition that has no event.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// The pause between two checks.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until `condition` holds. Returns the time that it took.
///
/// # Panics
/// Panics with `what` if `condition` does not hold within `limit`.
pub async fn until<F>(what: &str, limit: Duration, mut condition: impl FnMut() -> F) -> Duration
where
    F: Future<Output = bool>,
{
    let began = Instant::now();
    let holds = async {
        while !condition().await {
            sleep(PAUSE).await;
        }
    };
    let in_time = timeout(limit, holds).await.is_ok();
    assert!(in_time, "not within {limit:?}: {what}");
    began.elapsed()
}
