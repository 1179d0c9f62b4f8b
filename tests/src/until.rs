//! Waits for a condition that has no event.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// How long it waits before it asks again.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until `condition` holds and says how long that took.
///
/// # Panics
/// With `what` when `limit` has passed and it still does not hold.
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
