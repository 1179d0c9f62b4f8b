//! The engine: takes every delivery from fetch to settlement. It knows no connector and no CLI.
//!
//! A task runs in one of its [roles](roles). A [lane](lane) takes each delivery through the [steps](steps) of the role;
//! the [settler](settle) reports the outcome of the delivery to the source. The modules are listed in the order of that
//! flow; the modules that all groups share come last. A module uses only modules of its own group and of the groups
//! below, and no two modules use each other.

// A task is configured and started.
mod config;
mod execute;
mod single;

// A loop runs to its end.
mod consume;
mod exit;
mod produce;
mod stop;

// From here on, no type of a task appears: each module below is compiled once for all tasks, except `roles` and
// `worker`.
mod outbound;
mod role;
mod roles;
mod steps;
mod worker;

// Deliveries come from the source, and wait for a lane.
mod buffer;
mod fetch;
mod lease;
mod slots;

// A lane processes one transaction.
mod lane;
mod processing;

mod attempt;
mod lifecycle;

// The outcome of the transaction goes to the source.
mod completed;
mod count;
mod dead_letters;
mod finished;
mod flush;
mod redeliver;
mod settle;

// The modules of a loop share these types.
mod run_context;
mod run_state;

mod abort;
mod blocked;
mod blocking;
mod clock;
mod delay_queue;
mod drain;
mod quick;

// Tools that the code of a task calls.
mod concurrently;
mod spawn;

pub use attempt::{run_fn, run_fn_blocking};
pub use blocking::block_on;
pub use concurrently::{Concurrent, RunConcurrently, run_concurrently};
pub use config::{
    blocking_consumer, blocking_hybrid, blocking_producer, consumer, executor, hybrid, producer,
};
pub use execute::{Execute, Run};
pub use quick::set_quick_limit;
pub use spawn::{spawn, spawn_blocking};
