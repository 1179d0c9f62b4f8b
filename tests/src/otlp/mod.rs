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

/// The time limit of [`Collector::until`].
const LIMIT: Duration = Duration::from_secs(30);

/// The reaction of a collector to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mood {
    /// Accepts requests.
    #[default]
    Well,
    /// Keeps nothing, and answers that the collector is not available.
    Refuses,
    /// Accepts connections and reads requests, keeps nothing, and never answers.
    Hangs,
    /// Reads and writes one byte in a second.
    Slow,
}

/// A collector on a free port of this machine.
#[derive(Debug)]
pub struct Collector {
    protocol: Protocol,
    address: SocketAddr,
    seen: watch::Sender<Seen>,
    mood: watch::Sender<Mood>,
    /// None while the collector is stopped.
    server: Option<Server>,
}

impl Collector {
    /// Starts a collector for OTLP by gRPC.
    pub async fn grpc() -> Self {
        Self::start(Protocol::Grpc).await
    }

    /// Starts a collector for OTLP by HTTP, as protobuf: `/v1/traces`, `/v1/metrics`, `/v1/logs`.
    pub async fn http() -> Self {
        Self::start(Protocol::Http).await
    }

    async fn start(protocol: Protocol) -> Self {
        let (seen, mood) = (watch::Sender::default(), watch::Sender::default());
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::start(protocol, anywhere, &seen, &mood).await;
        Self { protocol, address: server.address, seen, mood, server: Some(server) }
    }

    /// The address of the collector: the value for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The protocol of the collector: the value for `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub fn protocol(&self) -> &'static str {
        match self.protocol {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http/protobuf",
        }
    }

    /// All received telemetry so far.
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// The spans received so far, in the order of arrival.
    pub fn spans(&self) -> Vec<Span> {
        self.seen.borrow().spans.clone()
    }

    /// The log records received so far, in the order of arrival.
    pub fn logs(&self) -> Vec<Log> {
        self.seen.borrow().logs.clone()
    }

    /// The latest value of each received series.
    pub fn metrics(&self) -> Vec<Series> {
        self.seen.borrow().metrics.clone()
    }

    /// Forgets all received telemetry.
    pub fn forget(&self) {
        self.seen.send_replace(Seen::default());
    }

    /// Waits until `holds` accepts the received telemetry, and returns this telemetry.
    ///
    /// # Panics
    /// Panics with the received telemetry after 30 seconds.
    pub async fn until(&self, holds: impl FnMut(&Seen) -> bool) -> Seen {
        let mut sent = self.seen.subscribe();
        if let Ok(seen) = timeout(LIMIT, sent.wait_for(holds)).await {
            return seen.expect("the collector lives").clone();
        }
        panic!("not within {LIMIT:?}; the collector was sent {:#?}", self.seen())
    }

    /// From now on, keeps nothing, and answers `UNAVAILABLE` or status 503.
    pub fn refuse(&self) {
        self.mood.send_replace(Mood::Refuses);
    }

    /// From now on, accepts connections and reads requests, and never answers.
    pub fn hang(&self) {
        self.mood.send_replace(Mood::Hangs);
    }

    /// From now on, reads and writes one byte in a second.
    pub fn one_byte_a_second(&self) {
        self.mood.send_replace(Mood::Slow);
    }

    /// From now on, accepts requests again, and answers the hanging requests.
    pub fn recover(&self) {
        self.mood.send_replace(Mood::Well);
    }

    /// Closes the port and all connections. Returns when they are closed.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }

    /// Opens the port again after [`stop`](Self::stop), and keeps the telemetry that it received before.
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
