//! Declares the policy keys and the name suggestions that Ergon's runtime and its macros share.
//!
//! A crate of procedural macros cannot depend on the crate that its generated code uses. Both depend on this crate, so
//! that each key, rule and text exists once. This crate is not a public API: programs use the crate `ergon`.
//!
//! [`CONSUMER`], [`PRODUCER`], [`RETRY`] and [`EMPTY_QUEUE`] list the keys as data. [`keys!`] passes them as tokens, so
//! that `ergon` can make structs from them.

mod key;
mod policies;
pub mod sample;
pub mod suggest;

pub use key::{Bound, Key, Kind, NO_TIME, Policy, RunOption, SlotUse, Value, Word, first_broken};
pub use policies::{CONSUMER, EMPTY_QUEUE, PRODUCER, RETRY};
