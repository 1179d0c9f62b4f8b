//! Makes the address of a supervisor: a socket that leaves no file behind.

use std::io;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;

/// A unique name. The random part also keeps other users of the machine from guessing it.
fn name() -> String {
    format!("ergon-{}-{:016x}", std::process::id(), fastrand::u64(..))
}

/// An abstract name is no file: the system removes it with the process.
#[cfg(target_os = "linux")]
fn socket(name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn socket(name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname(std::env::temp_dir().join(name))
}

/// Listens for workers, and returns the address that they connect to.
///
/// # Errors
/// Returns the system's error.
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
