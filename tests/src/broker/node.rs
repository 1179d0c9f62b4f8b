//! Runs a broker node, and does to it what a test needs: stop, kill, freeze, memory alarm.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::guard::Guard;
use super::home::Home;
use super::options::BrokerOptions;

/// The time limit of one call of `rabbitmqctl` on a busy machine.
const CONTROL_LIMIT: Duration = Duration::from_secs(60);

/// A RabbitMQ broker for one test, with an empty virtual host `/` and the user `guest`.
///
/// It is killed, and its folder removed, when it is dropped. A method panics if the broker does not do what the method
/// asks, because the test cannot continue.
#[derive(Debug)]
pub struct Broker {
    home: Home,
    options: BrokerOptions,
    node: Mutex<Child>,
    mapper: Child,
    /// Dropped to end all processes. `None` only while the broker is being dropped.
    guard: Option<Guard>,
}

impl Broker {
    /// Starts a broker with the defaults of RabbitMQ, and waits until it answers: about 4 s on an idle machine.
    ///
    /// # Panics
    /// See [`BrokerOptions::start`].
    pub async fn start() -> Self {
        BrokerOptions::new().start().await
    }

    /// Starts to configure a broker.
    pub fn options() -> BrokerOptions {
        BrokerOptions::new()
    }

    /// Prepares a broker that is down: its address is known, and [`restart`](Self::restart) starts it for the first
    /// time.
    ///
    /// # Panics
    /// Panics when `rabbitmq-server` is not installed.
    pub fn down() -> Self {
        Self::prepare(BrokerOptions::new()).expect("a folder and processes can be made")
    }

    pub(super) async fn start_with(options: BrokerOptions) -> Self {
        let broker = Self::prepare(options).expect("a folder and processes can be made");
        broker.restart().await;
        broker
    }

    fn prepare(options: BrokerOptions) -> io::Result<Self> {
        let home = Home::make(&options)?;
        let guard = Guard::over(&home.folder)?;
        let mapper = home.spawn_mapper()?;
        guard.watch(&[mapper.id()])?;
        // Takes the place of a killed node.
        let node = std::process::Command::new("true").stdin(Stdio::null()).spawn()?;
        Ok(Self { home, options, node: Mutex::new(node), mapper, guard: Some(guard) })
    }

    /// The address for clients: user `guest`, virtual host `/`.
    pub fn url(&self) -> String {
        self.url_at(self.port())
    }

    /// The same address with another port, such as the port of a [`Proxy`](super::Proxy).
    pub fn url_at(&self, port: u16) -> String {
        format!("amqp://guest:guest@127.0.0.1:{port}/%2f")
    }

    /// The port for plain TCP.
    pub fn port(&self) -> u16 {
        self.home.port
    }

    /// The address for clients over TLS.
    ///
    /// # Panics
    /// Unless it was started with [`BrokerOptions::tls`].
    pub fn tls_url(&self) -> String {
        let (port, _) = self.home.tls.as_ref().expect("started with tls()");
        format!("amqps://guest:guest@localhost:{port}/%2f")
    }

    /// The certificate of the authority that signed the broker's, in PEM.
    ///
    /// # Panics
    /// Unless it was started with [`BrokerOptions::tls`].
    pub fn authority(&self) -> String {
        let (_, files) = self.home.tls.as_ref().expect("started with tls()");
        fs::read_to_string(&files.authority).expect("written at the start")
    }

    /// A client's certificate that the same authority signed, and its key: files in PEM.
    ///
    /// # Panics
    /// Unless it was started with [`BrokerOptions::tls`].
    pub fn client_certificate(&self) -> (&Path, &Path) {
        let (_, files) = self.home.tls.as_ref().expect("started with tls()");
        (&files.client.0, &files.client.1)
    }

    /// Stops RabbitMQ gracefully. The Erlang machine continues.
    pub async fn stop_app(&self) {
        self.control(&["stop_app"]).await;
    }

    /// Starts RabbitMQ again after [`stop_app`](Self::stop_app), and waits until it answers.
    pub async fn start_app(&self) {
        self.control(&["start_app"]).await;
        self.ready().await;
    }

    /// Kills the broker immediately (SIGKILL). Data that it had not written to the disk is lost.
    ///
    /// # Panics
    /// Panics when the process cannot be waited for.
    pub fn kill(&self) {
        let mut node = self.node();
        if node.try_wait().expect("a child can be asked").is_none() {
            let _ = kill_process_group(Pid::from_child(&node), Signal::KILL);
            node.wait().expect("a killed process ends");
        }
    }

    /// Kills the broker if it runs, starts it over the same data, and waits until it answers: 4 to 6 s.
    ///
    /// # Panics
    /// Panics when it ends early or does not answer in time.
    pub async fn restart(&self) {
        self.kill();
        self.spawn().expect("rabbitmq-server can be started");
        self.ready().await;
    }

    fn spawn(&self) -> io::Result<()> {
        let node = self.home.spawn_node()?;
        let groups = [self.mapper.id(), node.id()];
        *self.node() = node;
        self.guard.as_ref().map_or(Ok(()), |guard| guard.watch(&groups))
    }

    /// Freezes the broker (SIGSTOP): its connections stay open, and it does not answer.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Continues the broker after [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process_group(Pid::from_child(&self.node()), signal).expect("the broker's process is there");
    }

    /// Raises the memory alarm, which blocks every connection that publishes, or clears it.
    pub async fn memory_alarm(&self, on: bool) {
        let part = if on { 0.000_001 } else { self.options.watermark };
        self.control(&["set_vm_memory_high_watermark", &part.to_string()]).await;
    }

    /// The number of messages of a queue that wait, and the number that a consumer holds.
    ///
    /// # Panics
    /// Panics when there is no such queue.
    pub async fn depth(&self, queue: &str) -> (u64, u64) {
        let columns = ["list_queues", "--silent", "name", "messages_ready", "messages_unacknowledged"];
        let table = self.control(&columns).await;
        let line = table.lines().find_map(|line| line.strip_prefix(queue)?.strip_prefix('\t'));
        let (ready, unacked) = line.and_then(|rest| rest.split_once('\t')).expect("there is such a queue");
        (ready.trim().parse().expect("a count"), unacked.trim().parse().expect("a count"))
    }

    /// Runs `rabbitmqctl` against this broker and returns what it printed.
    ///
    /// # Panics
    /// With what it printed when it fails, or when it takes longer than a minute: a frozen broker does not answer.
    pub async fn control(&self, arguments: &[&str]) -> String {
        let mut command = Command::from(self.home.script("rabbitmqctl"));
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(CONTROL_LIMIT, command.output()).await;
        let output = output.expect("rabbitmqctl ends in time").expect("rabbitmqctl can be started");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rabbitmqctl {arguments:?}: {printed}{complaint}");
        printed
    }

    /// Whether the broker speaks AMQP now, and accepts connections over TLS if it has a port for TLS.
    ///
    /// The listeners are started one after the other: the port for TLS refuses for a while after the first one answers.
    pub async fn answers(&self) -> bool {
        let asked = async {
            greet(self.port()).await?;
            if let Some((port, _)) = &self.home.tls {
                TcpStream::connect(("127.0.0.1", *port)).await?;
            }
            io::Result::Ok(())
        };
        matches!(timeout(Duration::from_secs(2), asked).await, Ok(Ok(())))
    }

    /// Waits until all its listeners answer.
    async fn ready(&self) {
        let began = Instant::now();
        while !self.answers().await {
            let ended = self.node().try_wait().expect("a child can be asked");
            let late = began.elapsed() > self.options.deadline;
            assert!(ended.is_none() && !late, "the broker does not start ({ended:?}):\n{}", self.log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The last lines of the broker's console and log.
    pub fn log(&self) -> String {
        let mut files = vec![self.home.path("console")];
        let logs = fs::read_dir(self.home.path("log")).into_iter().flatten().flatten();
        files.extend(logs.map(|entry| entry.path()));
        let texts = files.iter().map(|file| fs::read_to_string(file).unwrap_or_default());
        texts.map(|text| last_lines(&text, 40)).collect::<Vec<_>>().join("\n")
    }

    fn node(&self) -> MutexGuard<'_, Child> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        let _ = self.mapper.kill();
        let _ = self.mapper.wait();
        drop(self.guard.take());
    }
}

/// Sends the protocol header, and waits for the first byte of `connection.start`, a method frame.
async fn greet(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"AMQP\0\0\x09\x01").await?;
    if stream.read_u8().await? == 1 { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(count)).copied().collect::<Vec<_>>().join("\n")
}
