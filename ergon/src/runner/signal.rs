//! SIGINT and SIGTERM: the first one stops in good order, the second one at once.

use std::io;
use std::sync::{Arc, OnceLock};

use super::Exit;
use crate::task::Stop;

/// A signal that asks the process to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT, or Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// Remembers the first signal that came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals(Arc<OnceLock<Signal>>);

impl Signals {
    /// Obeys signals from now on: at the first, drains and calls `on_stop`; at the second, calls `on_exit` and ends
    /// the process.
    ///
    /// # Errors
    /// Why the system does not let the process see its signals.
    pub(crate) fn listen(
        stop: Stop,
        on_stop: impl FnOnce(Signal) + Send + 'static,
        on_exit: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let mut arriving = Arriving::new()?;
        let signals = Self::default();
        let first = Arc::clone(&signals.0);
        tokio::spawn(async move {
            let signal = arriving.next().await;
            // Nobody else sets it.
            let _ = first.set(signal);
            stop.drain.cancel();
            on_stop(signal);
            let signal = arriving.next().await;
            on_exit();
            Exit::Stopped(signal).now()
        });
        Ok(signals)
    }

    /// The first signal, if one came.
    pub(crate) fn first(&self) -> Option<Signal> {
        self.0.get().copied()
    }
}

#[cfg(unix)]
struct Arriving {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Arriving {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
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

#[cfg(all(test, unix))]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn the_first_signal_drains_and_is_remembered() {
        let stop = Stop::default();
        let (told, heard) = tokio::sync::oneshot::channel();
        let on_stop = move |signal| told.send(signal).unwrap();
        let signals = Signals::listen(stop.clone(), on_stop, || ()).unwrap();
        assert_eq!(signals.first(), None);
        let sent = Command::new("kill").arg("-TERM").arg(std::process::id().to_string()).status().unwrap();
        assert!(sent.success());
        stop.drain.cancelled().await;
        assert_eq!(heard.await.unwrap(), Signal::Terminate);
        assert_eq!(signals.first(), Some(Signal::Terminate));
    }
}
