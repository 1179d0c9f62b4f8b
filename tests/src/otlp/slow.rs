//! A connection that can be slowed down to one byte in a second.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

use super::Mood;

/// Makes connections that are slow when the collector is slow.
pub(super) struct Port {
    pub(super) listener: TcpListener,
    pub(super) mood: watch::Receiver<Mood>,
}

impl Listener for Port {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let pace = || Pace { mood: self.mood.clone(), next: None };
        (Connection { stream, reads: pace(), writes: pace() }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection of a collector.
pub(super) struct Connection {
    stream: TcpStream,
    reads: Pace,
    writes: Pace,
}

/// The time at which the next byte may move in one direction.
struct Pace {
    mood: watch::Receiver<Mood>,
    next: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// Returns the number of bytes that may move.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        if *self.mood.borrow() != Mood::Slow {
            self.next = None;
            return Poll::Ready(usize::MAX);
        }
        let next = self.next.get_or_insert_with(|| Box::pin(sleep(Duration::from_secs(1))));
        ready!(next.as_mut().poll(context));
        Poll::Ready(1)
    }

    fn moved(&mut self) {
        self.next = None;
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = ready!(self.reads.poll(context));
        if most >= buffer.remaining() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let mut part = [0; 1];
        let mut part = ReadBuf::new(&mut part);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut part))?;
        buffer.put_slice(part.filled());
        self.reads.moved();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let most = ready!(self.writes.poll(context)).min(bytes.len());
        let part = bytes.get(..most).unwrap_or(bytes);
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, part))?;
        self.writes.moved();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
