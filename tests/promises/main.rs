//! What is promised of one process, a module for each promise: with scripted faults, and most on a paused clock.
//!
//! Tests run side by side: what one of them changes for the whole process is for none of the others to see, or the test
//! begins a process of its own.
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
