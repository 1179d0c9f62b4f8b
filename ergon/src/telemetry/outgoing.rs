//! The trace of a transaction, as it goes along with what a service is asked.

use super::propagation::{self, Place, TRACEPARENT, TRACESTATE};
use super::{Scope, traces};

/// The headers that say where the running code stands in a trace; none if it stands in none.
pub(crate) fn headers() -> impl Iterator<Item = (&'static str, String)> {
    let place = Scope::with_current(|scope| scope.and_then(|scope| scope.trace.clone()));
    let context = traces::current(place.as_ref()).filter(|_| propagation::is_on());
    let state = place.filter(|_| propagation::is_on()).and_then(|Place { state, .. }| state);
    let parent = context.map(|context| (TRACEPARENT, context.to_string()));
    parent.into_iter().chain(state.map(|state| (TRACESTATE, state.to_string())))
}
