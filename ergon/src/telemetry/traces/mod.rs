//! Spans: what is recorded of the transactions that are sampled.
//!
//! Whether a transaction is sampled is decided once, before any span of it exists; one that is not costs two random
//! numbers. The spans of one that is are written down whole when they end and go straight to the processor's queue,
//! because a span that is opened, entered and closed through `tracing` costs four times as much. The user's own
//! `tracing` spans nest in them: see `nesting`.
//!
//! Without the feature `opentelemetry` nothing is recorded, and the place in a trace that a transaction came with goes
//! on with what is made of it.

#[cfg(feature = "opentelemetry")]
pub(crate) mod nesting;
#[cfg(feature = "opentelemetry")]
mod queue;
mod recording;
mod run;
mod sending;
#[cfg(feature = "opentelemetry")]
mod span;
#[cfg(feature = "opentelemetry")]
mod tracer;

#[cfg(feature = "opentelemetry")]
pub(crate) use queue::{Queue, Shared};
pub(crate) use recording::{Ending, Recording};
pub(crate) use run::{Batch, RunTrace};
pub(crate) use sending::Sending;
#[cfg(feature = "opentelemetry")]
pub(crate) use tracer::{Sampling, Tracer, install};

use super::propagation::{Place, TraceContext};
use super::with_opentelemetry;

with_opentelemetry! {
    else { place.map(|place| place.context) }

    /// Where the running code stands in a trace.
    pub(crate) fn current(place: Option<&Place>) -> Option<TraceContext> {
        nesting::current(place)
    }
}
