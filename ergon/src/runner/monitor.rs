//! Looks at the process again and again, and tells whoever has to know how it is.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::health::Look;
use super::notify::{self, State};
use super::watch::Vitals;

/// How often it looks.
const TICK: Duration = Duration::from_millis(250);

/// Looks until it is dropped; `seen` is told each time. The service manager is told when the process is ready, when
/// it stops, and, as often as it asks, that it is alive.
pub(crate) async fn monitor(look: Look, drain: CancellationToken, mut seen: impl FnMut(Vitals) + Send) {
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
            notify::tell(State::Stopping);
        } else if !ready && vitals.unready.is_none() {
            ready = true;
            notify::tell(State::Ready);
        }
        if vitals.ill.is_none() {
            notify::tell(State::Watchdog);
        }
        seen(vitals);
        #[cfg(target_os = "linux")]
        if let Some(orphans) = &mut orphans {
            orphans.reap();
        }
    }
}
