//! Declares what Ergon's runtime and its macros share: the policy keys and "did you mean".
//!
//! A crate of procedural macros cannot depend on the crate that its code is for. This crate is below both, so that each
//! key, rule and word exists once. It is no public API: programs use the crate `ergon`.
//!
//! [`CONSUMER`], [`PRODUCER`], [`RETRY`] and [`EMPTY_QUEUE`] list the keys as data. [`keys!`] passes them as tokens, so
//! that `ergon` can make structs of them.

mod key;
mod policies;
pub mod sample;
pub mod suggest;

pub use key::{Bound, Key, Kind, NO_TIME, Policy, RunOption, SlotUse, Value, Word, first_broken};
pub use policies::{CONSUMER, EMPTY_QUEUE, PRODUCER, RETRY};
