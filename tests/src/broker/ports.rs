//! Finds free ports for the servers of a test.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// Below the ports that Linux gives to clients (32768 and up): no client takes such a port while a server restarts, and
/// a client that tries again and again cannot connect to itself.
const PORTS: Range<u16> = 15_000..30_000;

/// `N` different ports on which no process listens.
///
/// # Panics
/// Panics when a thousand tries find none.
pub(super) fn free<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] = std::array::from_fn(|_| hold());
    held.map(|listener| listener.local_addr().expect("a bound listener has an address").port())
}

fn hold() -> TcpListener {
    let mut random = fastrand::Rng::new();
    let mut tries = std::iter::repeat_with(|| TcpListener::bind((Ipv4Addr::LOCALHOST, random.u16(PORTS))));
    tries.by_ref().take(1000).find_map(Result::ok).expect("a free port")
}
