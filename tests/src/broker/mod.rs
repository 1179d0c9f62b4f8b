//! Runs a RabbitMQ broker for one test, a network in front of the broker that can fail, and a plain client.
//!
//! [`Broker`] starts a node with its own ports, name, cookie, port mapper and folder. The node shares nothing with a
//! broker that the machine may have. A test may kill it, freeze it, or let it run out of memory. [`Proxy`] is between a
//! client and the broker, and resets, holds back or slows the traffic. [`Client`] is bare `lapin`: it fills and empties
//! queues without the connector under test.
//!
//! Nothing outlives the test: a guard process kills the node and removes its folder when the [`Broker`] is dropped, and
//! also when the test's process dies in any way.

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
