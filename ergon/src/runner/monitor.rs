//! Watches the process at regular intervals, and reports its health.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::health::Look;
use super::notify::{self, State};
use super::watch::Vitals;

/// The interval: short enough that a status line follows the run, long enough to cost nothing.
const TICK: Duration = Duration::from_millis(250);

/// Watches until dropped. `seen` receives the health each time. The service manager is notified when the process is
/// ready and when it stops, and as often as its watchdog asks.
pub(crate) async fn monitor(look: Look, drain: CancellationToken, mut seen: impl FnMut(Vitals) + Send) {
    // Three times within the watchdog's interval, because a single late notification would kill the process.
    let tick = notify::watchdog().map_or(TICK, |limit| TICK.min(limit / 3)).max(Duration::from_millis(1));
    let mut ticks = interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut ready, mut stopping) = (false, false);
    #[cfg(target_os = "linux")]
    let mut orphans = super::reap::Orphans::here();
    loop {
        tokio::select! {
            _ = ticks.tick() => (),
            () = drain.cancelled(), if !stopping => (),
        }
        let vitals = look();
        if !stopping && drain.is_cancelled() {
            stopping = true;
            notify::send(State::Stopping);
        } else if !ready && vitals.unready.is_none() {
            ready = true;
            notify::send(State::Ready);
        }
        if vitals.unhealthy.is_none() {
            notify::send(State::Watchdog);
        }
        seen(vitals);
        #[cfg(target_os = "linux")]
        if let Some(orphans) = &mut orphans {
            orphans.reap();
        }
    }
}
