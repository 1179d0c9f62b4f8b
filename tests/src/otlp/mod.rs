//! A collector for tests: receives traces, metrics and logs over OTLP, by gRPC or HTTP, keeps them, and fails as the
//! test says.
//!
//! The collector runs on its own thread, so that a test may block, pause its clock, or wait for the program under test.

mod seen;
mod series;
mod server;
mod slow;

use std::net::SocketAddr;
use std::time::Duration;

pub use seen::{Attributes, Happening, Log, Seen, Span, Status};
pub use series::{Figure, Series};
use server::{Protocol, Server};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long [`Collector::until`] waits.
const LIMIT: Duration = Duration::from_secs(30);

/// What a collector does with what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mood {
    /// Keeps it and says so.
    #[default]
    Well,
    /// Keeps nothing, and answers that it is not available.
    Refuses,
    /// Takes connections and requests, keeps nothing, and never answers.
    Hangs,
    /// Takes and gives one byte in a second.
    Slow,
}

/// A collector on a free port of this machine.
#[derive(Debug)]
pub struct Collector {
    protocol: Protocol,
    address: SocketAddr,
    seen: watch::Sender<Seen>,
    mood: watch::Sender<Mood>,
    /// None while it is stopped.
    server: Option<Server>,
}

impl Collector {
    /// Starts one that takes OTLP by gRPC.
    pub async fn grpc() -> Self {
        Self::start(Protocol::Grpc).await
    }

    /// Starts one that takes OTLP by HTTP, as protobuf: `/v1/traces`, `/v1/metrics`, `/v1/logs`.
    pub async fn http() -> Self {
        Self::start(Protocol::Http).await
    }

    async fn start(protocol: Protocol) -> Self {
        let (seen, mood) = (watch::Sender::default(), watch::Sender::default());
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::start(protocol, anywhere, &seen, &mood).await;
        Self { protocol, address: server.address, seen, mood, server: Some(server) }
    }

    /// Where it is: what `OTEL_EXPORTER_OTLP_ENDPOINT` is set to.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How it is spoken to: what `OTEL_EXPORTER_OTLP_PROTOCOL` is set to.
    pub fn protocol(&self) -> &'static str {
        match self.protocol {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http/protobuf",
        }
    }

    /// What it was sent so far.
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// The spans it was sent so far, in the order in which they came.
    pub fn spans(&self) -> Vec<Span> {
        self.seen.borrow().spans.clone()
    }

    /// The log records it was sent so far, in the order in which they came.
    pub fn logs(&self) -> Vec<Log> {
        self.seen.borrow().logs.clone()
    }

    /// The latest value of each series it was sent.
    pub fn metrics(&self) -> Vec<Series> {
        self.seen.borrow().metrics.clone()
    }

    /// Forgets what it was sent.
    pub fn forget(&self) {
        self.seen.send_replace(Seen::default());
    }

    /// Waits until it was sent what `holds` looks for; returns all it was sent by then.
    ///
    /// # Panics
    /// With what it was sent, if that is not within 30 seconds.
    pub async fn until(&self, holds: impl FnMut(&Seen) -> bool) -> Seen {
        let mut sent = self.seen.subscribe();
        if let Ok(seen) = timeout(LIMIT, sent.wait_for(holds)).await {
            return seen.expect("the collector lives").clone();
        }
        panic!("not within {LIMIT:?}; the collector was sent {:#?}", self.seen())
    }

    /// Keeps nothing from now on: answers `UNAVAILABLE`, or status 503.
    pub fn refuse(&self) {
        self.mood.send_replace(Mood::Refuses);
    }

    /// Answers nothing from now on, though it takes connections and requests.
    pub fn hang(&self) {
        self.mood.send_replace(Mood::Hangs);
    }

    /// Takes and gives one byte in a second from now on.
    pub fn one_byte_a_second(&self) {
        self.mood.send_replace(Mood::Slow);
    }

    /// Is well again from now on; what hung is answered.
    pub fn recover(&self) {
        self.mood.send_replace(Mood::Well);
    }

    /// Closes its port and all connections; returns when that is done.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }

    /// Opens its port again after [`stop`](Self::stop), with what it was sent before.
    pub async fn restart(&mut self) {
        self.stop();
        self.server = Some(Server::start(self.protocol, self.address, &self.seen, &self.mood).await);
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop();
    }
}
