//! Notifies the service manager of the state of the process, if the service manager asks for it, as systemd does with
//! `Type=notify`.

use std::time::Duration;

/// A state to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    Stopping,
    /// The process is alive.
    Watchdog,
}

/// Sends a state. Does nothing if no service manager asks for it.
#[cfg(target_os = "linux")]
pub(super) fn send(state: State) {
    let state = match state {
        State::Ready => sd_notify::NotifyState::Ready,
        State::Stopping => sd_notify::NotifyState::Stopping,
        State::Watchdog => sd_notify::NotifyState::Watchdog,
    };
    // A failed notification is no reason to stop.
    let _ = sd_notify::notify(&[state]);
}

/// The interval of the service manager's watchdog, if it has one.
#[cfg(target_os = "linux")]
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn send(_: State) {}

#[cfg(not(target_os = "linux"))]
pub(super) fn watchdog() -> Option<Duration> {
    None
}
