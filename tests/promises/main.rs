//! Tests the promises of one process, in one module for each promise: with scripted faults, and mostly on a paused
//! clock.
//!
//! Tests run at the same time. A test that changes the state of the whole process therefore starts a separate process.
#![cfg(test)]

mod attempts;
mod blocking;
mod cancellation;
mod disposition;
mod drain;
mod hybrids;
mod in_turn;
mod lifecycle;
mod limits;
mod order;
mod own_loops;
mod panics;
mod producers;
mod roles;
mod settlement;
mod simulation;
mod streaming;
mod testing;
mod timeouts;
