//! Adds the trace of the running transaction to the requests of services, so that the called system can continue the
//! trace.

use super::propagation::{self, Place, TRACEPARENT, TRACESTATE};
use super::{Scope, traces};

/// The headers with the position of the running code in a trace; none outside of a trace.
pub(crate) fn headers() -> impl Iterator<Item = (&'static str, String)> {
    let place = Scope::with_current(|scope| scope.and_then(|scope| scope.trace.clone()));
    let context = traces::current(place.as_ref()).filter(|_| propagation::is_on());
    let state = place.filter(|_| propagation::is_on()).and_then(|Place { state, .. }| state);
    let parent = context.map(|context| (TRACEPARENT, context.to_string()));
    parent.into_iter().chain(state.map(|state| (TRACESTATE, state.to_string())))
}
