//! SIGINT and SIGTERM: the first one stops in good order, the second one at once.

use std::io;
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;

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
    /// Obeys signals from now on: at the first, drains and calls `on_first`; at the second, calls `on_second`.
    pub(crate) fn obey(
        mut arriving: BoxStream<'static, Signal>,
        stop: Stop,
        on_first: impl FnOnce(Signal) + Send + 'static,
        on_second: impl FnOnce(Signal) + Send + 'static,
    ) -> Self {
        let signals = Self::default();
        let first = Arc::clone(&signals.0);
        tokio::spawn(async move {
            let Some(signal) = arriving.next().await else { return };
            // Nobody else sets it.
            let _ = first.set(signal);
            stop.drain.cancel();
            on_first(signal);
            if let Some(signal) = arriving.next().await {
                on_second(signal);
            }
        });
        signals
    }

    /// The first signal, if one came.
    pub(crate) fn first(&self) -> Option<Signal> {
        self.0.get().copied()
    }
}

/// The signals of the process, as they come; from now on they do not end it by themselves.
///
/// # Errors
/// Why the system does not let the process see its signals.
pub(crate) fn arriving() -> io::Result<BoxStream<'static, Signal>> {
    let arriving = Arriving::new()?;
    let next = |mut arriving: Arriving| async move { Some((arriving.next().await, arriving)) };
    Ok(futures_util::stream::unfold(arriving, next).boxed())
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

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn the_first_signal_drains_and_the_second_ends() {
        let stop = Stop::default();
        let (told, heard) = std::sync::mpsc::channel();
        let (first, second) = (told.clone(), told);
        let arriving = stream::iter([Signal::Terminate, Signal::Interrupt]).boxed();
        let drained = stop.clone();
        let on_first = move |signal| first.send((signal, drained.drain.is_cancelled())).unwrap();
        let signals = Signals::obey(arriving, stop.clone(), on_first, move |signal| {
            second.send((signal, true)).unwrap();
        });
        assert_eq!(signals.first(), None);
        stop.drain.cancelled().await;
        let heard: Vec<_> = heard.into_iter().collect();
        assert_eq!(heard, [(Signal::Terminate, true), (Signal::Interrupt, true)]);
        assert_eq!(signals.first(), Some(Signal::Terminate));
    }
}
