//! Tells the service manager how the process is, where one asks: systemd with `Type=notify`.

use std::time::Duration;

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    Stopping,
    /// It is alive.
    Watchdog,
}

/// Tells it; where nobody asked, nothing happens.
#[cfg(target_os = "linux")]
pub(super) fn tell(state: State) {
    let state = match state {
        State::Ready => sd_notify::NotifyState::Ready,
        State::Stopping => sd_notify::NotifyState::Stopping,
        State::Watchdog => sd_notify::NotifyState::Watchdog,
    };
    // A manager that does not listen is no reason to stop.
    let _ = sd_notify::notify(&[state]);
}

/// How often the manager wants to hear that the process is alive, if it does.
#[cfg(target_os = "linux")]
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn tell(_: State) {}

#[cfg(not(target_os = "linux"))]
pub(super) fn watchdog() -> Option<Duration> {
    None
}
