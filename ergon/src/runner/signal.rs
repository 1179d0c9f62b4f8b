//! Provides the signals SIGINT, SIGTERM and SIGHUP as a stream.

use std::io;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;

/// A signal that asks the process to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT, or Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal was closed.
    Hangup,
}

impl Signal {
    /// The number of the signal.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Hangup => 1,
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }

    /// The signal with this number, if it is one that asks to stop.
    #[cfg(unix)]
    pub(crate) fn of_number(number: i32) -> Option<Self> {
        let all = [Self::Interrupt, Self::Terminate, Self::Hangup];
        all.into_iter().find(|signal| i32::from(signal.number()) == number)
    }

    /// Whether a second signal of this kind asks to end immediately. A hangup does not: a terminal that is closed sends
    /// one, and the shell in it sends another.
    pub(crate) fn insists(self) -> bool {
        self != Self::Hangup
    }
}

/// The signals of the process. From now on, they do not end the process by themselves. A hangup that was ignored when
/// the process started (`nohup`) stays ignored.
///
/// # Errors
/// Returns an error if the system does not pass signals on.
pub(crate) fn arriving() -> io::Result<BoxStream<'static, Signal>> {
    let arriving = Arriving::new()?;
    let next = |mut arriving: Arriving| async move { Some((arriving.next().await, arriving)) };
    Ok(futures_util::stream::unfold(arriving, next).boxed())
}

#[cfg(unix)]
struct Arriving {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// `None` where the hangup is ignored.
    hangup: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Arriving {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let hangup = (!ignores_hangup()).then(|| signal(SignalKind::hangup())).transpose()?;
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup,
        })
    }

    async fn next(&mut self) -> Signal {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // A service manager may send a hangup right after the other signal. The other signal is the reason to stop.
            biased;
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = hangup => Signal::Hangup,
        }
    }
}

/// Whether this process was started with its hangup ignored. Ask before listening to the signal.
#[cfg(target_os = "linux")]
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, Signal::Hangup))
}

/// Other systems do not report this to safe code.
#[cfg(all(unix, not(target_os = "linux")))]
fn ignores_hangup() -> bool {
    false
}

/// Reads the line `SigIgn: 0000000000000001`: one bit for each signal, starting with signal 1.
#[cfg(target_os = "linux")]
fn ignores(status: &str, signal: Signal) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal.number() - 1)) != 0)
}

#[cfg(not(unix))]
struct Arriving;

#[cfg(not(unix))]
impl Arriving {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Interrupt,
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        let status = |mask: &str| format!("Name:\tergon\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\n");
        assert!(ignores(&status("0000000000001001"), Signal::Hangup));
        assert!(!ignores(&status("0000000000001000"), Signal::Hangup));
        assert!(ignores(&status("0000000000004000"), Signal::Terminate));
        assert!(!ignores("", Signal::Hangup));
    }
}
