//! Connects the workers that draw on a limit with the state machine that grants it, and sends their grants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::UnboundedSender;

use super::grants::{Grants, Orders};
use super::message::Order;
use crate::task::Claim;

/// All limits of a supervisor. A clone shares them.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    limits: HashMap<Key, Grants>,
    /// The grants to send to each connected worker, by connection.
    lines: HashMap<u64, UnboundedSender<Order>>,
    connections: u64,
}

/// Identifies a limit: it belongs to one loop of a task, in all workers of the task. A task with `execute` may run
/// several loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    task: &'static str,
    draw: u64,
    limit: u64,
}

/// The limits that one connected worker draws on.
#[derive(Debug)]
pub(super) struct Drawing {
    limits: Limits,
    connection: u64,
    task: &'static str,
    workers: usize,
    draws: HashMap<u64, Key>,
    /// Whether all messages of the worker were read.
    read_to_end: bool,
}

impl Limits {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connected worker. `line` receives its grants.
    pub(super) fn admit(&self, task: &'static str, workers: usize, line: UnboundedSender<Order>) -> Drawing {
        let mut state = self.state();
        state.connections += 1;
        let connection = state.connections;
        state.lines.insert(connection, line);
        let limits = self.clone();
        Drawing { limits, connection, task, workers, draws: HashMap::new(), read_to_end: false }
    }
}

impl State {
    fn send(&self, key: Key, orders: Orders) {
        for (connection, grant) in orders {
            // A worker without a connection has ended, or its end is about to be noticed.
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
    /// Lets the loop with this number draw on a limit.
    pub(super) fn join(&mut self, draw: u64, limit: u64) {
        let key = Key { task: self.task, draw, limit };
        self.draws.insert(draw, key);
        let mut state = self.limits.state();
        state.limits.entry(key).or_insert_with(|| Grants::new(limit, self.workers as u64));
        state.change(key, |grants| grants.join(self.connection));
    }

    pub(super) fn apply(&mut self, draw: u64, claim: Claim) {
        if let Some(key) = self.draws.get(&draw) {
            self.limits.state().change(*key, |grants| grants.apply(self.connection, claim));
        }
    }

    /// Ends the draw of a loop.
    pub(super) fn leave(&mut self, draw: u64) {
        if let Some(key) = self.draws.remove(&draw) {
            self.limits.state().change(key, |grants| grants.leave(self.connection));
        }
    }

    /// Ends all draws of a worker that has closed its connection, after all of its messages were read.
    pub(super) fn read_to_end(mut self) {
        self.read_to_end = true;
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        let mut state = self.limits.state();
        state.lines.remove(&self.connection);
        for (_, key) in self.draws.drain() {
            let (read_to_end, connection) = (self.read_to_end, self.connection);
            state.change(
                key,
                |grants| {
                    if read_to_end { grants.leave(connection) } else { grants.lose(connection) }
                },
            );
        }
    }
}
