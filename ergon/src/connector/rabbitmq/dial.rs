//! One connection to the broker, made within a deadline, and cut when the broker no longer answers.

use std::fs;
use std::io;
use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_compat::Compat;
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::types::LongString;
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, Error, ErrorKind};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::address::Address;
use super::{RabbitMqConfig, Tls, error};
use crate::connector::ConnectorError;
use crate::settings::FilePath;

/// How long a broker may take to say goodbye to a connection that nobody needs any more.
const GOODBYE: Duration = Duration::from_secs(2);

/// Everything that is needed to connect.
#[derive(Clone)]
pub(super) struct Dial {
    pub(super) address: Address,
    pub(super) within: Duration,
    tls: Option<Tls>,
    /// Whose connection it is: task, slot and worker; the broker's own tools show it, with the purpose.
    pub(super) name: String,
}

/// A connection; when it is dropped it says goodbye to a broker that still answers, and shuts its socket.
pub(super) struct Wire {
    connection: Arc<Connection>,
    socket: Socket,
}

/// The socket below a connection, once there is one.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<Option<StdTcpStream>>>);

impl Dial {
    pub(super) fn new(config: &RabbitMqConfig, address: Address, name: String) -> Self {
        Self { address, within: config.connect_timeout, tls: config.tls.clone(), name }
    }

    /// Connects.
    ///
    /// # Errors
    /// Why the broker cannot be reached, or does not let us in.
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
                // Ends the client's thread, which would wait for an answer for ever.
                socket.shut();
                Err(self.failed(&io::Error::from(io::ErrorKind::TimedOut).into()))
            }
        }
    }

    /// The error of a broker that is silent.
    pub(super) fn no_answer(&self) -> ConnectorError {
        let (address, within) = (&self.address, humantime::format_duration(self.within));
        ConnectorError::transient(format!("no answer from {address} within {within}"))
    }

    fn failed(&self, error: &Error) -> ConnectorError {
        let address = &self.address;
        if let ErrorKind::ParsingError(_) = error.kind() {
            return ConnectorError::transient(format!("what answers at {address} does not speak AMQP"))
                .with_hint("see host and port; RabbitMQ's own is 5672, and 15672 is for browsers");
        }
        let ErrorKind::IOError(io) = error.kind() else {
            let what = format!("connect as `{}` to vhost `{}`", address.username(), address.vhost());
            return error::failed(&what, address, error);
        };
        match io.kind() {
            io::ErrorKind::ConnectionRefused => {
                ConnectorError::transient(format!("nothing listens at {address}"))
                    .with_hint("start the broker, or see host and port")
            }
            io::ErrorKind::TimedOut => self.no_answer(),
            // A broker ends the connection without a word when the vhost is no good, or TLS meets a plain port.
            io::ErrorKind::ConnectionAborted | io::ErrorKind::UnexpectedEof => {
                ConnectorError::transient(format!("{address} ended the connection while it was set up"))
                    .with_hint("see the broker's log; a port for TLS does not take plain connections")
            }
            io::ErrorKind::InvalidData if address.is_encrypted() => {
                let error = ConnectorError::permanent(format!("no encrypted connection to {address}: {io}"));
                let is_plain = io.to_string().contains("corrupt message");
                error.with_hint(if is_plain {
                    "does this port take encrypted connections? RabbitMQ's own for them is 5671"
                } else {
                    "`tls.ca_file` names the authority that signed the broker's certificate"
                })
            }
            _ => ConnectorError::transient(format!("cannot connect to {address}: {io}")),
        }
    }

    async fn tls_config(&self) -> Result<OwnedTLSConfig, ConnectorError> {
        let Some(tls) = self.tls.clone() else { return Ok(OwnedTLSConfig::default()) };
        let read = tokio::task::spawn_blocking(move || read(&tls)).await;
        read.map_err(|error| ConnectorError::permanent("the certificates were not read").with_source(error))?
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
                .map_err(|_| ConnectorError::permanent(format!("`tls.ca_file`: {path} is no PEM file")))?,
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
                .with_hint("a certificate is of use only together with its key"));
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
            // It is shut already, then.
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

    /// Says goodbye to the broker; it gives back at once what was handed out.
    pub(super) async fn leave(&self, within: Duration) {
        leave(&self.connection, within).await;
    }
}

async fn leave(connection: &Connection, within: Duration) {
    // Whoever does not answer is left without a goodbye.
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
