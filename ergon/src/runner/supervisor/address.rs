//! Where a supervisor listens for its workers: a socket that leaves nothing behind.

use std::io;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;

/// A name that nobody else has.
fn name() -> String {
    format!("ergon-{}-{:016x}", std::process::id(), fastrand::u64(..))
}

/// Names that are no files: they end with the process.
#[cfg(target_os = "linux")]
fn socket(name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn socket(name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname(std::env::temp_dir().join(name))
}

/// Begins to listen; returns the address for the workers.
///
/// # Errors
/// Why the system does not let it.
pub(super) fn listen() -> io::Result<(tokio::net::UnixListener, String)> {
    let address = name();
    let listener = UnixListener::bind_addr(&socket(&address)?)?;
    listener.set_nonblocking(true)?;
    Ok((tokio::net::UnixListener::from_std(listener)?, address))
}

/// Connects to a supervisor.
pub(super) fn connect(address: &str) -> io::Result<UnixStream> {
    UnixStream::connect_addr(&socket(address)?)
}
