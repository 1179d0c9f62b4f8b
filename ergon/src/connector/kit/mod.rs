//! Building blocks for connectors.
//!
//! A connector to a broker or a database has to reconnect, to fence the receipts of a lost connection, to extend
//! leases, and to batch its calls. The built-in connectors are built from these parts. A connector in its own crate can
//! use each of them:
//!
//! | part | what it does | for |
//! |---|---|---|
//! | [`Link`] | connects again with growing waits, numbers the sessions, lets callers wait for one, reports health | anything with a connection |
//! | [`Unacked`] | remembers waiting and unacknowledged transactions, returns those that are given back to their place | sources whose external system does not track deliveries: files, lists |
//! | [`Frontier`] | finds up to where all positions are settled | logs with offsets, acknowledgements for several tags |
//! | [`Leases`] | extends leases, cancels the handler of a lost one | queues that take a delivery back after a time |
//! | [`mod@file`] | opens, reads, follows, locks and writes a file; a format is a parser and an encoder | connectors of files |
//! | [`Batcher`] | batches concurrent calls into one | sinks that pay by the commit, the flush or the request |
//!
//! The example of each type shows how to use it. `docs/connectors/writing.md` has the rules that a connector keeps, and
//! [`testing::conformance`](crate::testing::conformance) tests them.

mod batcher;
pub mod file;
mod frontier;
mod lease;
mod link;
mod unacked;

pub use batcher::{Added, Batcher, Call, CallError};
pub use frontier::Frontier;
pub(crate) use lease::Lease;
pub use lease::{Extend, Leases};
pub use link::{BACKOFF, Connect, Link, Pulse, Session};
pub use unacked::Unacked;
