//! Configures a broker before its start.

use std::fmt::Write;
use std::time::Duration;

use super::certificates::Certificates;
use super::node::Broker;

/// The configuration of a [`Broker`]. [`start`](Self::start) starts the broker.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// Lines of `rabbitmq.conf`.
    conf: Vec<String>,
    /// Erlang terms for the application `rabbit` in `advanced.config`.
    terms: Vec<String>,
    pub(super) tls: bool,
    /// Whether a client has to show a certificate over TLS.
    mutual: bool,
    pub(super) watermark: f64,
    pub(super) deadline: Duration,
}

impl BrokerOptions {
    /// Starts with the defaults of RabbitMQ, over plain TCP.
    pub fn new() -> Self {
        let deadline = Duration::from_secs(90);
        Self { conf: Vec::new(), terms: Vec::new(), tls: false, mutual: false, watermark: 0.4, deadline }
    }

    /// Closes a channel that does not settle a delivery within `limit`. The broker checks at the same interval.
    #[must_use]
    pub fn consumer_timeout(self, limit: Duration) -> Self {
        let millis = limit.as_millis();
        self.conf(&format!("consumer_timeout = {millis}"))
            .term(&format!("{{channel_tick_interval, {millis}}}"))
    }

    /// The heartbeat that the broker proposes, in whole seconds.
    #[must_use]
    pub fn heartbeat(self, interval: Duration) -> Self {
        self.conf(&format!("heartbeat = {}", interval.as_secs()))
    }

    /// The part of the machine's memory that may be used before publishers are blocked.
    #[must_use]
    pub fn memory_watermark(mut self, part: f64) -> Self {
        self.watermark = part;
        self
    }

    /// The largest message that the broker accepts, in bytes.
    #[must_use]
    pub fn max_message_size(self, bytes: u64) -> Self {
        self.conf(&format!("max_message_size = {bytes}"))
    }

    /// Also listens over TLS, with a certificate of the test's own authority.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Listens over TLS, and accepts only clients with a certificate that the test's own authority signed.
    #[must_use]
    pub fn mutual_tls(mut self) -> Self {
        self.mutual = true;
        self.tls()
    }

    /// The time limit of a start. Default: 90 s.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// A line of `rabbitmq.conf`.
    #[must_use]
    pub fn conf(mut self, line: &str) -> Self {
        self.conf.push(line.to_owned());
        self
    }

    /// A term of the application `rabbit` in `advanced.config`: `{channel_tick_interval, 1000}`.
    #[must_use]
    pub fn term(mut self, term: &str) -> Self {
        self.terms.push(term.to_owned());
        self
    }

    /// Starts the broker and waits until it answers.
    ///
    /// # Panics
    /// Panics when `rabbitmq-server` is not installed, ends early or does not answer in time, with the end of its log.
    pub async fn start(self) -> Broker {
        Broker::start_with(self).await
    }

    /// The text of `rabbitmq.conf`.
    pub(super) fn conf_text(&self, port: u16, tls: Option<(u16, &Certificates)>) -> String {
        let mut text = format!("listeners.tcp.default = 127.0.0.1:{port}\n");
        let _ = writeln!(text, "vm_memory_high_watermark.relative = {}", self.watermark);
        text.push_str("log.file.level = info\n");
        if let Some((port, files)) = tls {
            let _ = writeln!(text, "listeners.ssl.default = 127.0.0.1:{port}");
            let _ = writeln!(text, "ssl_options.cacertfile = {}", files.authority.display());
            let _ = writeln!(text, "ssl_options.certfile = {}", files.certificate.display());
            let _ = writeln!(text, "ssl_options.keyfile = {}", files.key.display());
            let verify = if self.mutual { "verify_peer" } else { "verify_none" };
            let _ = writeln!(text, "ssl_options.verify = {verify}");
            let _ = writeln!(text, "ssl_options.fail_if_no_peer_cert = {}", self.mutual);
        }
        for line in &self.conf {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// The text of `advanced.config`.
    pub(super) fn advanced_text(&self) -> String {
        format!("[{{rabbit, [{}]}}].\n", self.terms.join(", "))
    }
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self::new()
    }
}
