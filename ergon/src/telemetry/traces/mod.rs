//! Records the spans of sampled transactions.
//!
//! The sampling decision is made once, before any span of a transaction exists. An unsampled transaction costs two random
//! numbers. The spans of a sampled transaction are recorded whole when they end, and go directly to the queue of the
//! processor, because a span that is opened, entered and closed through `tracing` costs four times as much. The user's own
//! `tracing` spans nest in them: see `nesting`.
//!
//! Without the feature `opentelemetry` nothing is recorded. The trace context of an inbound transaction still propagates to
//! the outbound transactions.

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

    /// The position of the running code in a trace.
    pub(crate) fn current(place: Option<&Place>) -> Option<TraceContext> {
        nesting::current(place)
    }
}
