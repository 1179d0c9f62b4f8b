//! A RabbitMQ broker of a test's own, a network in front of it that can fail, and a plain client to look inside.
//!
//! [`Broker`] starts a node with its own ports, name, cookie, port mapper and folder; nothing of it is shared with a
//! broker that the machine may have. A test may kill it, freeze it, or let it run out of memory. [`Proxy`] stands
//! between a client and the broker and resets, holds back or slows what goes through. [`Client`] is bare `lapin`: it
//! fills queues and empties them without the connector that is under test.
//!
//! Nothing outlives the test: a guard process kills the node and removes its folder when the [`Broker`] is dropped,
//! and also when the test's process dies in whatever way.

mod certificates;
mod client;
mod guard;
mod home;
mod node;
mod options;
mod ports;
mod proxy;
mod queues;

pub use client::{Client, Message};
pub use node::Broker;
pub use options::BrokerOptions;
pub use proxy::{Direction, Link, Proxy};
pub use queues::Queues;
