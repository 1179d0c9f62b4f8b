//! How it moves: the loop that takes every delivery from fetch to settlement. It knows no connector and no CLI.
//!
//! A task is run in one of its [roles](roles); whatever the role, a [lane](consume) takes each delivery through its
//! [life](life), whose [steps](steps) are the task's, and the [settler](settle) tells the source what became of it.

mod abort;
mod attempt;
mod blocked;
mod blocking;
mod clock;
mod concurrently;
mod consume;
mod dead_letters;
mod delay;
mod drain;
mod execute;
mod fetch;
mod life;
mod lifecycle;
mod lived;
mod produce;
mod quick;
mod roles;
mod settle;
mod single;
mod slots;
mod spawn;
mod steps;
mod terms;

pub use attempt::{run_fn, run_fn_blocking};
pub use blocking::block_on;
pub use concurrently::{Concurrent, RunConcurrently, run_concurrently};
pub use execute::{Execute, Run};
pub use quick::set_quick_limit;
pub use roles::{
    blocking_consumer, blocking_hybrid, blocking_producer, consumer, executor, hybrid, producer,
};
pub use spawn::{spawn, spawn_blocking};
