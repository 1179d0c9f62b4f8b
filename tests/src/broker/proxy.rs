//! Simulates a network between a client and the broker that can fail: reset, half-open, slow, closed.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::ports;

/// The largest piece that is forwarded.
const CHUNK: usize = 64 * 1024;

/// A TCP proxy in front of a broker; it stops when it is dropped.
///
/// It runs on the runtime of the test that opened it.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    listening: watch::Receiver<bool>,
    acceptor: JoinHandle<()>,
}

/// The direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the broker.
    ToBroker,
    /// From the broker to the client.
    FromBroker,
    /// Both directions.
    Both,
}

/// A connection through a [`Proxy`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The number of the connection, from 1, in the order of arrival.
    pub number: u64,
    /// The client's end. The broker sees another address.
    pub client: SocketAddr,
    /// Bytes to the broker.
    pub to_broker: u64,
    /// Bytes from the broker.
    pub from_broker: u64,
}

/// The current state of the network.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    refuse: bool,
    hold_to_broker: bool,
    hold_from_broker: bool,
    /// Links up to this number carry nothing in these directions, (to, from) the broker, until all is healed.
    stranded: (u64, bool, bool),
    latency: Duration,
    /// 0 is as fast as it goes.
    bytes_per_second: u64,
}

#[derive(Debug)]
struct Shared {
    broker: u16,
    weather: watch::Sender<Weather>,
    links: Mutex<BTreeMap<u64, Open>>,
    made: AtomicU64,
}

/// An open link. When `cut` is used or dropped, both ends are reset.
#[derive(Debug)]
struct Open {
    client: SocketAddr,
    traffic: Arc<Traffic>,
    cut: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Traffic {
    to_broker: AtomicU64,
    from_broker: AtomicU64,
}

impl Proxy {
    /// Opens a proxy in front of the broker on this port of this machine.
    ///
    /// # Panics
    /// Panics when no port can be listened at.
    pub async fn open(broker: u16) -> Self {
        let [port] = ports::free();
        let (weather, made) = (watch::Sender::default(), AtomicU64::new(0));
        let shared = Arc::new(Shared { broker, weather, links: Mutex::default(), made });
        let (says, mut listening) = watch::channel(false);
        let acceptor = tokio::spawn(accept(port, Arc::clone(&shared), says));
        listening.wait_for(|open| *open).await.expect("the proxy listens");
        Self { port, shared, listening, acceptor }
    }

    /// The address for clients.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of connections so far.
    pub fn made(&self) -> u64 {
        self.shared.made.load(Ordering::SeqCst)
    }

    /// The connections that are open, oldest first.
    pub fn links(&self) -> Vec<Link> {
        self.shared.links().iter().map(|(number, open)| open.describe(*number)).collect()
    }

    /// Resets all connections at both ends (RST, not FIN). Returns their number.
    pub fn reset_all(&self) -> usize {
        let links = std::mem::take(&mut *self.shared.links());
        links.into_values().filter_map(|open| open.cut.send(()).ok()).count()
    }

    /// Resets one connection. Returns whether it was open.
    pub fn reset(&self, number: u64) -> bool {
        let open = self.shared.links().remove(&number);
        open.is_some_and(|open| open.cut.send(()).is_ok())
    }

    /// Forwards nothing in this direction and keeps all connections open, also new ones.
    ///
    /// Bytes that are held back in the other direction stay held back.
    pub fn blackhole(&self, direction: Direction) {
        self.change(|weather| {
            weather.hold_to_broker |= direction != Direction::FromBroker;
            weather.hold_from_broker |= direction != Direction::ToBroker;
        });
    }

    /// Forwards nothing in this direction over the connections that are open now, which stay open. New connections
    /// work.
    pub fn strand(&self, direction: Direction) {
        let (to, from) = (direction != Direction::FromBroker, direction != Direction::ToBroker);
        self.change(|weather| weather.stranded = (self.made(), to, from));
    }

    /// Delays each piece of at most 64 KiB by `latency`, and forwards at most `bytes_per_second` in each direction of a
    /// connection. 0 means no limit.
    pub fn slow(&self, latency: Duration, bytes_per_second: u64) {
        self.change(|weather| {
            weather.latency = latency;
            weather.bytes_per_second = bytes_per_second;
        });
    }

    /// Refuses new connections, or accepts them again. Open connections stay.
    ///
    /// # Panics
    /// Panics when its port cannot be listened at again.
    pub async fn refuse(&self, refuse: bool) {
        self.change(|weather| weather.refuse = refuse);
        let mut listening = self.listening.clone();
        listening.wait_for(|open| *open != refuse).await.expect("the proxy is there");
    }

    /// Ends all faults: bytes that were held back are forwarded, and new connections are accepted.
    ///
    /// # Panics
    /// Panics when its port cannot be listened at again.
    pub async fn heal(&self) {
        self.change(|weather| *weather = Weather::default());
        self.refuse(false).await;
    }

    fn change(&self, change: impl FnOnce(&mut Weather)) {
        self.shared.weather.send_modify(change);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, BTreeMap<u64, Open>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn describe(&self, number: u64) -> Link {
        let to_broker = self.traffic.to_broker.load(Ordering::Relaxed);
        let from_broker = self.traffic.from_broker.load(Ordering::Relaxed);
        Link { number, client: self.client, to_broker, from_broker }
    }
}

/// Accepts connections while the state allows it. All of them end with this task.
async fn accept(port: u16, shared: Arc<Shared>, says: watch::Sender<bool>) {
    let (mut links, mut weather) = (JoinSet::new(), shared.weather.subscribe());
    loop {
        let listener = listen(port).expect("the proxy's port is its own");
        says.send_replace(true);
        let refuse = async {
            let _ = weather.wait_for(|weather| weather.refuse).await;
        };
        tokio::select! {
            () = refuse => {}
            () = take(&listener, &shared, &mut links) => {}
        }
        drop(listener);
        says.send_replace(false);
        let _ = weather.wait_for(|weather| !weather.refuse).await;
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    socket.listen(64)
}

async fn take(listener: &TcpListener, shared: &Arc<Shared>, links: &mut JoinSet<()>) {
    loop {
        let Ok((stream, client)) = listener.accept().await else { continue };
        let number = shared.made.fetch_add(1, Ordering::SeqCst) + 1;
        let (cut, is_cut) = oneshot::channel();
        let traffic = Arc::new(Traffic::default());
        let open = Open { client, traffic: Arc::clone(&traffic), cut };
        shared.links().insert(number, open);
        let shared = Arc::clone(shared);
        links.spawn(async move {
            let carrier = Carrier { number, weather: shared.weather.subscribe(), traffic };
            carrier.carry(stream, shared.broker, is_cut).await;
            shared.links().remove(&number);
        });
        while links.try_join_next().is_some() {}
    }
}

/// Forwards the bytes of one link.
struct Carrier {
    number: u64,
    weather: watch::Receiver<Weather>,
    traffic: Arc<Traffic>,
}

impl Carrier {
    /// Carries bytes both ways until both sides have ended, one has failed, or the link is cut.
    async fn carry(self, mut client: TcpStream, broker: u16, is_cut: oneshot::Receiver<()>) {
        let Ok(mut broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, broker)).await else {
            let _ = client.set_zero_linger();
            return;
        };
        let _ = (client.set_nodelay(true), broker.set_nodelay(true));
        let whole = tokio::select! {
            _ = is_cut => false,
            whole = self.both_ways(&mut client, &mut broker) => whole,
        };
        if !whole {
            let _ = (client.set_zero_linger(), broker.set_zero_linger());
        }
    }

    async fn both_ways(&self, client: &mut TcpStream, broker: &mut TcpStream) -> bool {
        let ((from_client, to_client), (from_broker, to_broker)) = (client.split(), broker.split());
        let up = Pump { held: Weather::holds_to_broker, link: self.number, weather: self.weather.clone() };
        let down =
            Pump { held: Weather::holds_from_broker, link: self.number, weather: self.weather.clone() };
        let up = up.run(from_client, to_broker, &self.traffic.to_broker);
        tokio::try_join!(up, down.run(from_broker, to_client, &self.traffic.from_broker)).is_ok()
    }
}

impl Weather {
    fn holds_to_broker(&self, link: u64) -> bool {
        let (last, to_broker, _) = self.stranded;
        self.hold_to_broker || to_broker && link <= last
    }

    fn holds_from_broker(&self, link: u64) -> bool {
        let (last, _, from_broker) = self.stranded;
        self.hold_from_broker || from_broker && link <= last
    }
}

/// One direction of a link.
struct Pump {
    held: fn(&Weather, u64) -> bool,
    link: u64,
    weather: watch::Receiver<Weather>,
}

impl Pump {
    async fn run(
        mut self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        count: &AtomicU64,
    ) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            self.clear().await;
            let room = self.piece();
            let read = from.read(chunk.get_mut(..room).unwrap_or_default()).await?;
            self.clear().await;
            if read == 0 {
                return to.shutdown().await;
            }
            self.pace(read).await;
            to.write_all(chunk.get(..read).unwrap_or_default()).await?;
            count.fetch_add(read as u64, Ordering::Relaxed);
        }
    }

    /// Waits while this direction is held back. A sender has gone only with the link itself.
    async fn clear(&mut self) {
        let _ = self.weather.wait_for(|weather| !(self.held)(weather, self.link)).await;
    }

    /// The size of one piece: the whole buffer, or the bytes that a slow link carries in a twentieth of a second.
    fn piece(&self) -> usize {
        match self.weather.borrow().bytes_per_second {
            0 => CHUNK,
            speed => usize::try_from(speed / 20).unwrap_or(CHUNK).clamp(64, CHUNK),
        }
    }

    async fn pace(&self, bytes: usize) {
        let Weather { latency, bytes_per_second, .. } = *self.weather.borrow();
        let nanos = (bytes as u64 * 1_000_000_000).checked_div(bytes_per_second);
        let pause = latency + Duration::from_nanos(nanos.unwrap_or_default());
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
}
