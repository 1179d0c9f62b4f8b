//! Connects to the broker within a deadline, and parses its address.
//!
//! An address is shown without its password. A connection to a broker that no longer answers is closed at its socket,
//! because a graceful close would wait.

use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, fs, io};

use async_compat::Compat;
use futures_util::{Stream, StreamExt};
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::types::LongString;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, Error, ErrorKind, Event};
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;
use url::{Host, Url};

use super::{RabbitMqConfig, Tls, error};
use crate::connector::ConnectorError;
use crate::connector::kit::Pulse;
use crate::settings::FilePath;
use crate::telemetry::link::LinkBlocked;

/// The broker's address, with the password.
#[derive(Clone)]
pub(super) struct Address(AMQPUri);

impl Address {
    /// Reads the address of a config.
    ///
    /// # Errors
    /// A wrong part of the address. Parts that could hold a password are not shown.
    pub(super) fn of(config: &RabbitMqConfig) -> Result<Self, ConnectorError> {
        let uri = match &config.url {
            Some(url) => {
                alone(config)?;
                from_url(url.expose_secret())?
            }
            None => from_parts(config),
        };
        let mut address = Self(uri);
        let encrypted = address.0.scheme == AMQPScheme::AMQPS;
        if config.tls.is_some() && !encrypted {
            return Err(ConnectorError::permanent("`tls` is set, but the URL says `amqp://`")
                .with_hint("write `amqps://`, or remove `tls`"));
        }
        let seconds = u16::try_from(config.heartbeat.as_secs()).unwrap_or(u16::MAX);
        if seconds == 0 {
            return Err(ConnectorError::permanent("`heartbeat` is less than a second")
                .with_hint("without a heartbeat, a lost broker is not noticed; 10s is a good value"));
        }
        address.0.query.heartbeat = Some(seconds);
        Ok(address)
    }

    pub(super) fn uri(&self) -> &AMQPUri {
        &self.0
    }

    pub(super) fn host(&self) -> &str {
        &self.0.authority.host
    }

    pub(super) fn port(&self) -> u16 {
        self.0.authority.port
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.0.scheme == AMQPScheme::AMQPS
    }

    pub(super) fn username(&self) -> &str {
        &self.0.authority.userinfo.username
    }

    pub(super) fn vhost(&self) -> &str {
        &self.0.vhost
    }
}

/// Checks that no other key repeats a part of the URL.
fn alone(config: &RabbitMqConfig) -> Result<(), ConnectorError> {
    let beside = [
        ("host", config.host.is_some()),
        ("port", config.port.is_some()),
        ("username", config.username.is_some()),
        ("password", config.password.is_some()),
        ("vhost", config.vhost.is_some()),
    ];
    match beside.iter().find(|(_, is_set)| *is_set) {
        Some((key, _)) => Err(ConnectorError::permanent(format!("`url` and `{key}` are both set"))
            .with_hint(format!("`{key}` is a part of the URL: set one of them"))),
        None => Ok(()),
    }
}

fn from_parts(config: &RabbitMqConfig) -> AMQPUri {
    let scheme = if config.tls.is_some() { AMQPScheme::AMQPS } else { AMQPScheme::AMQP };
    let text = |part: &Option<String>, default: &str| part.clone().unwrap_or_else(|| default.to_owned());
    let password = config.password.as_ref().map_or("guest", |password| password.expose_secret());
    AMQPUri {
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: text(&config.username, "guest"),
                password: password.to_owned(),
            },
            host: text(&config.host, "localhost"),
            port: config.port.unwrap_or_else(|| scheme.default_port()),
        },
        scheme,
        vhost: text(&config.vhost, "/"),
        query: AMQPQueryString::default(),
    }
}

/// Reads the parts of a URL. lapin itself takes a default for an unreadable host, so this function reports it.
fn from_url(text: &str) -> Result<AMQPUri, ConnectorError> {
    let wrong = |why: String| {
        ConnectorError::permanent(format!("`url` is not the address of a broker: {why}")).with_hint(
            "expected `amqp://user:password@host:port/vhost`, with special characters percent-encoded",
        )
    };
    let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "amqp" | "amqps") || url.cannot_be_a_base() {
        return Err(wrong("it does not begin with `amqp://` or `amqps://`".to_owned()));
    }
    // The error of the client repeats the address, including the password, so it is dropped.
    let unreadable = |_: String| wrong("a value after its `?` cannot be read".to_owned());
    let mut uri: AMQPUri = text.parse().map_err(unreadable)?;
    uri.authority.host = match url.host() {
        Some(Host::Domain("")) | None => return Err(wrong("it names no host".to_owned())),
        Some(Host::Domain(_)) => uri.authority.host,
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
    };
    Ok(uri)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri { scheme, authority, vhost, .. } = &self.0;
        let (open, close) = if authority.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", authority.host, authority.port)?;
        if vhost == "/" { Ok(()) } else { write!(f, "/{vhost}") }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// The time limit for closing a connection that is no longer used.
const GOODBYE: Duration = Duration::from_secs(2);

/// The values that are needed to connect.
#[derive(Clone)]
pub(super) struct Dial {
    pub(super) address: Address,
    pub(super) within: Duration,
    tls: Option<Tls>,
    /// The owner of the connection: task, slot and worker. The broker's tools show it together with the purpose.
    pub(super) name: String,
}

/// A connection. Its drop closes it gracefully if the broker still answers, and shuts its socket.
pub(super) struct Wire {
    connection: Arc<Connection>,
    socket: Socket,
}

/// The socket of a connection, once it is open.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<Option<StdTcpStream>>>);

impl Dial {
    pub(super) fn new(config: &RabbitMqConfig, address: Address, name: String) -> Self {
        Self { address, within: config.connect_timeout, tls: config.tls.clone(), name }
    }

    /// Connects.
    ///
    /// # Errors
    /// The broker cannot be reached, or refuses the login.
    pub(super) async fn connect(&self, purpose: &str) -> Result<Wire, ConnectorError> {
        let tls = self.tls_config().await?;
        let name = format!("ergon {} {purpose}", self.name);
        let properties = ConnectionProperties::default().with_connection_name(LongString::from(name));
        let runtime = lapin::runtime::default_runtime().map_err(|error| self.failed(&error))?;
        let socket = Socket::default();
        let (reached, address, within) = (socket.clone(), self.address.clone(), self.within);
        let reach = async move |_: AMQPUri, _| {
            let reached = timeout(within, open(&address, &tls, &reached)).await;
            reached.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(Error::from)
        };
        let connecting = Connection::connector(self.address.uri().clone(), runtime, reach, properties);
        match timeout(self.within.saturating_mul(2), connecting).await {
            Ok(Ok(connection)) => Ok(Wire { connection: Arc::new(connection), socket }),
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_) => {
                // Shutting the socket ends the client's thread, which would otherwise wait for an answer without end.
                socket.shut();
                Err(self.failed(&io::Error::from(io::ErrorKind::TimedOut).into()))
            }
        }
    }

    /// Makes the error of a broker that does not answer.
    pub(super) fn no_answer(&self) -> ConnectorError {
        let (address, within) = (&self.address, humantime::format_duration(self.within));
        ConnectorError::transient(format!("no answer from {address} within {within}"))
    }

    fn failed(&self, error: &Error) -> ConnectorError {
        let address = &self.address;
        if let ErrorKind::ParsingError(_) = error.kind() {
            return ConnectorError::transient(format!("the server at {address} does not speak AMQP"))
                .with_hint("check the host and the port; RabbitMQ's default port is 5672, and port 15672 is its web page");
        }
        let ErrorKind::IOError(io) = error.kind() else {
            let what = format!("connect as `{}` to vhost `{}`", address.username(), address.vhost());
            return error::failed(&what, address, error);
        };
        match io.kind() {
            io::ErrorKind::ConnectionRefused => {
                ConnectorError::transient(format!("nothing listens at {address}"))
                    .with_hint("start the broker, or check the host and the port")
            }
            io::ErrorKind::TimedOut => self.no_answer(),
            // A broker closes the connection without an answer if the vhost does not exist, or if TLS reaches a plain
            // port.
            io::ErrorKind::ConnectionAborted | io::ErrorKind::UnexpectedEof => {
                ConnectorError::transient(format!("{address} closed the connection during the handshake"))
                    .with_hint("check the broker's log; a port for TLS does not accept plain connections")
            }
            io::ErrorKind::InvalidData if address.is_encrypted() => {
                let error = ConnectorError::permanent(format!(
                    "cannot open an encrypted connection to {address}: {io}"
                ));
                let is_plain = io.to_string().contains("corrupt message");
                error.with_hint(if is_plain {
                    "check that this port accepts encrypted connections; RabbitMQ's default port for them is 5671"
                } else {
                    "set `tls.ca_file` to the certificate of the authority that signed the broker's certificate"
                })
            }
            _ => ConnectorError::transient(format!("cannot connect to {address}: {io}")),
        }
    }

    async fn tls_config(&self) -> Result<OwnedTLSConfig, ConnectorError> {
        let Some(tls) = self.tls.clone() else { return Ok(OwnedTLSConfig::default()) };
        let read = tokio::task::spawn_blocking(move || read(&tls)).await;
        read.map_err(|error| ConnectorError::permanent("the certificates cannot be read").with_source(error))?
    }
}

fn read(tls: &Tls) -> Result<OwnedTLSConfig, ConnectorError> {
    let load = |key: &str, path: &FilePath| {
        fs::read(path)
            .map_err(|error| ConnectorError::permanent(format!("`tls.{key}`: cannot read {path}: {error}")))
    };
    let cert_chain = match &tls.ca_file {
        Some(path) => Some(
            String::from_utf8(load("ca_file", path)?)
                .map_err(|_| ConnectorError::permanent(format!("`tls.ca_file`: {path} is not a PEM file")))?,
        ),
        None => None,
    };
    let identity = match (&tls.cert_file, &tls.key_file) {
        (Some(cert), Some(key)) => {
            Some(OwnedIdentity::PKCS8 { pem: load("cert_file", cert)?, key: load("key_file", key)? })
        }
        (None, None) => None,
        _ => {
            return Err(ConnectorError::permanent("one of `tls.cert_file` and `tls.key_file` is not set")
                .with_hint("set both, because a certificate needs its key"));
        }
    };
    Ok(OwnedTLSConfig { identity, cert_chain })
}

/// Opens the socket, and encrypts it if the address says so.
async fn open(
    address: &Address,
    tls: &OwnedTLSConfig,
    socket: &Socket,
) -> io::Result<AsyncTcpStream<Compat<TcpStream>>> {
    let stream = TcpStream::connect((address.host(), address.port())).await?;
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    socket.set(stream.try_clone()?);
    let stream = AsyncTcpStream::Plain(Compat::new(TcpStream::from_std(stream)?));
    if address.is_encrypted() { stream.into_tls(address.host(), tls.as_ref()).await } else { Ok(stream) }
}

impl Socket {
    fn set(&self, socket: StdTcpStream) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
    }

    fn shut(&self) {
        if let Some(socket) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // An error means that the socket is already shut.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Wire {
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Opens a channel.
    ///
    /// # Errors
    /// The client's own.
    pub(super) async fn channel(&self) -> Result<Channel, Error> {
        self.connection.create_channel().await
    }

    /// Closes the connection gracefully. The broker then requeues the unsettled messages immediately.
    pub(super) async fn leave(&self, within: Duration) {
        leave(&self.connection, within).await;
    }
}

async fn leave(connection: &Connection, within: Duration) {
    // If the broker does not answer, the connection ends without a graceful close.
    let _ = timeout(within, connection.close(200, "bye".into())).await;
}

impl Drop for Wire {
    fn drop(&mut self) {
        let (connection, socket) = (Arc::clone(&self.connection), self.socket.clone());
        match Handle::try_current() {
            Ok(runtime) if connection.status().connected() => {
                runtime.spawn(async move {
                    leave(&connection, GOODBYE).await;
                    socket.shut();
                });
            }
            _ => socket.shut(),
        }
    }
}

/// Starts a task that follows the events of a session's connection, until the session ends.
pub(super) fn watch(
    pulse: &Arc<Pulse>,
    events: impl Stream<Item = Event> + Send + 'static,
    connector: impl Into<String>,
) {
    let (pulse, connector) = (Arc::clone(pulse), connector.into());
    tokio::spawn(async move {
        tokio::select! {
            () = listen(&pulse, Box::pin(events), &connector) => (),
            () = pulse.over() => (),
        }
    });
}

/// Passes events on until the connection is lost.
async fn listen(pulse: &Pulse, mut events: impl Stream<Item = Event> + Unpin, connector: &str) {
    loop {
        match events.next().await {
            Some(Event::Error(error)) => return pulse.stop(error::words(&error)),
            Some(Event::ConnectionBlocked(reason)) => {
                LinkBlocked { connector, reason: Some(&reason) }.emit();
                pulse.block(Some(format!("the broker accepts no messages: {reason}")));
            }
            Some(Event::ConnectionUnblocked) => {
                LinkBlocked { connector, reason: None }.emit();
                pulse.block(None);
            }
            Some(_) => (),
            None => return pulse.stop("the connection was closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<Address, ConnectorError> {
        Address::of(&RabbitMqConfig::new(url, "q"))
    }

    #[test]
    fn every_part_of_a_url_is_read() {
        let address = of("amqps://us%40er:p%2Fa%3Ass%25@broker.example:5679/v%2Fhost").unwrap();
        assert_eq!(address.username(), "us@er");
        assert_eq!(address.uri().authority.userinfo.password, "p/a:ss%");
        assert_eq!((address.host(), address.port()), ("broker.example", 5679));
        assert_eq!((address.vhost(), address.is_encrypted()), ("v/host", true));
    }

    #[test]
    fn a_host_is_never_replaced_by_another() {
        assert_eq!(of("amqp://[::1]:5672").unwrap().host(), "::1");
        assert_eq!(of("amqp://127.0.0.1").unwrap().host(), "127.0.0.1");
        let error = of("amqp://").unwrap_err();
        assert!(error.is_permanent() && error.message().contains("no"), "{error}");
    }

    #[test]
    fn the_password_is_never_shown() {
        for url in [
            "amqp://me:s3cret@host:port",
            "me:s3cret@host:5672",
            "s3cret:me@host",
            "amqp:me:s3cret@host",
            "http://me:s3cret@host",
            "amqp://me:s3cret@",
            "amqp://me:s3cret@host?heartbeat=s3cret",
            "s3cret",
        ] {
            let config = RabbitMqConfig::new(url, "q");
            let error = Address::of(&config).expect_err(url);
            let shown = format!("{config:?} {error} {error:?} {:?}", error.hint());
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        let address = of("amqp://me:s3cret@host").unwrap();
        assert!(!format!("{address} {address:?}").contains("s3cret"));
    }

    #[test]
    fn url_and_parts_exclude_each_other() {
        let config = RabbitMqConfig { vhost: Some("a".into()), ..RabbitMqConfig::new("amqp://host", "q") };
        assert_eq!(Address::of(&config).unwrap_err().message(), "`url` and `vhost` are both set");
    }

    #[test]
    fn parts_make_an_address_with_any_password() {
        let password = Some("p@:/%ß".into());
        let config = RabbitMqConfig { password, tls: Some(Tls::default()), ..Default::default() };
        let address = Address::of(&config).unwrap();
        assert_eq!(address.uri().authority.userinfo.password, "p@:/%ß");
        assert_eq!(address.to_string(), "amqps://localhost:5671");
    }
}
