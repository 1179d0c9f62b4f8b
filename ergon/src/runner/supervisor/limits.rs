//! The limits that the workers draw on, and the lines over which they are granted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::UnboundedSender;

use super::grants::{Grants, Orders};
use super::message::Order;
use crate::task::Claim;

/// All limits of a supervisor; cloning it is cheap.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits(Arc<Mutex<Books>>);

#[derive(Debug, Default)]
struct Books {
    limits: HashMap<Key, Grants>,
    /// The way to each worker that is connected.
    lines: HashMap<u64, UnboundedSender<Order>>,
    connections: u64,
}

/// Which limit: that of the task's loop with this number, in all of its workers. A task with an `execute` of its own may
/// run several loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    task: &'static str,
    draw: u64,
    limit: u64,
}

/// What one connected worker draws on.
#[derive(Debug)]
pub(super) struct Drawing {
    limits: Limits,
    connection: u64,
    task: &'static str,
    workers: usize,
    draws: HashMap<u64, Key>,
    /// Whether all it said was heard.
    heard_out: bool,
}

impl Limits {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker is connected; `line` takes what it is granted.
    pub(super) fn admit(&self, task: &'static str, workers: usize, line: UnboundedSender<Order>) -> Drawing {
        let mut books = self.books();
        books.connections += 1;
        let connection = books.connections;
        books.lines.insert(connection, line);
        let limits = self.clone();
        Drawing { limits, connection, task, workers, draws: HashMap::new(), heard_out: false }
    }
}

impl Books {
    fn send(&self, key: Key, orders: Orders) {
        for (connection, grant) in orders {
            // A worker whose line is gone has left, or is about to be seen to have.
            let line = self.lines.get(&connection);
            let _ = line.map(|line| line.send(Order { draw: key.draw, grant }));
        }
    }

    fn change(&mut self, key: Key, change: impl FnOnce(&mut Grants) -> Orders) {
        if let Some(grants) = self.limits.get_mut(&key) {
            let orders = change(grants);
            self.send(key, orders);
        }
    }
}

impl Drawing {
    /// The loop with this number begins to draw on a limit.
    pub(super) fn join(&mut self, draw: u64, limit: u64) {
        let key = Key { task: self.task, draw, limit };
        self.draws.insert(draw, key);
        let mut books = self.limits.books();
        books.limits.entry(key).or_insert_with(|| Grants::new(limit, self.workers as u64));
        books.change(key, |grants| grants.join(self.connection));
    }

    pub(super) fn heed(&mut self, draw: u64, claim: Claim) {
        if let Some(key) = self.draws.get(&draw) {
            self.limits.books().change(*key, |grants| grants.heed(self.connection, claim));
        }
    }

    /// The loop draws no more.
    pub(super) fn leave(&mut self, draw: u64) {
        if let Some(key) = self.draws.remove(&draw) {
            self.limits.books().change(key, |grants| grants.leave(self.connection));
        }
    }

    /// The worker has hung up, and all it said was heard.
    pub(super) fn heard_out(mut self) {
        self.heard_out = true;
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        let mut books = self.limits.books();
        books.lines.remove(&self.connection);
        for (_, key) in self.draws.drain() {
            let (heard_out, connection) = (self.heard_out, self.connection);
            books.change(
                key,
                |grants| {
                    if heard_out { grants.leave(connection) } else { grants.lose(connection) }
                },
            );
        }
    }
}
