//! Propagates the trace of a transaction in metadata: `traceparent` and `tracestate` of the W3C Trace Context
//! recommendation (<https://www.w3.org/TR/trace-context/>).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::transaction::{Metadata, Transaction};

/// The metadata key, and the header, of the trace and of the span that sent the transaction.
pub(crate) const TRACEPARENT: &str = "traceparent";
/// The metadata key, and the header, of the data that tracing systems add to a trace.
pub(crate) const TRACESTATE: &str = "tracestate";

/// Whether propagation is off, by `OTEL_PROPAGATORS=none`.
static STAYS: AtomicBool = AtomicBool::new(false);

/// Turns propagation on or off, for outgoing and incoming transactions.
pub(crate) fn travels(travels: bool) {
    STAYS.store(!travels, Ordering::Relaxed);
}

/// Whether propagation is on.
pub(crate) fn is_on() -> bool {
    !STAYS.load(Ordering::Relaxed)
}

/// A position in a trace: the trace, the span, and whether it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceContext {
    /// Never 0.
    pub(crate) trace_id: u128,
    /// Never 0.
    pub(crate) span_id: u64,
    pub(crate) sampled: bool,
}

impl TraceContext {
    /// Parses a `traceparent`: `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`. A later version may have more parts. An
    /// invalid value counts as absent, as the recommendation requires.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (version, rest) = text.split_once('-')?;
        let (trace_id, rest) = rest.split_once('-')?;
        let (span_id, flags) = rest.split_once('-')?;
        let (flags, more) = flags.split_once('-').map_or((flags, None), |(flags, more)| (flags, Some(more)));
        let known = hex(version, 2).is_some_and(|version| version != 0xff && (version > 0 || more.is_none()));
        let context = Self {
            trace_id: hex(trace_id, 32)?,
            span_id: u64::try_from(hex(span_id, 16)?).ok()?,
            sampled: hex(flags, 2)? & 1 == 1,
        };
        (known && context.trace_id != 0 && context.span_id != 0).then_some(context)
    }

    /// The position that the sender of a transaction wrote to its metadata.
    pub(crate) fn of(metadata: &Metadata) -> Option<Self> {
        Self::parse(metadata.text(TRACEPARENT)?)
    }
}

/// Lower-case hexadecimal with the given number of digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == digits && text.bytes().all(digit)).then(|| u128::from_str_radix(text, 16).ok())?
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

/// The position of the running code in a trace, and the state that is propagated with it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) context: TraceContext,
    pub(crate) state: Option<Arc<str>>,
}

impl Place {
    /// The position that the sender of a transaction wrote to its metadata.
    pub(crate) fn of(metadata: &Metadata) -> Option<Self> {
        if metadata.is_empty() || !is_on() {
            return None;
        }
        let context = TraceContext::of(metadata)?;
        Some(Self { context, state: metadata.text(TRACESTATE).map(Arc::from) })
    }

    /// Writes the position to the metadata of an outgoing transaction.
    pub(crate) fn inject(&self, transaction: &mut Transaction) {
        if !is_on() {
            return;
        }
        let state = self.state.as_deref().map(|state| (TRACESTATE, state.to_owned()));
        transaction.carry([(TRACEPARENT, self.context.to_string())].into_iter().chain(state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_written_is_read_again() {
        let context = TraceContext::parse(SENT).unwrap();
        assert_eq!((context.span_id, context.sampled), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(context.to_string(), SENT);
        let unsampled = TraceContext { sampled: false, ..context };
        assert_eq!(TraceContext::parse(&unsampled.to_string()), Some(unsampled));
    }

    #[test]
    fn what_is_no_traceparent_counts_as_absent() {
        let zero_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let zero_span = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16));
        let wrong = [
            "",
            "00",
            "garbage",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            &zero_trace,
            &zero_span,
        ];
        for text in wrong {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = format!("{}-more", SENT.replacen("00", "01", 1));
        assert_eq!(TraceContext::parse(&later), TraceContext::parse(SENT));
    }

    #[test]
    fn a_transaction_carries_the_place_to_whoever_fetches_it() {
        let place = Place { context: TraceContext::parse(SENT).unwrap(), state: Some("a=1".into()) };
        let mut sent = Transaction::new("t", &1).unwrap();
        place.inject(&mut sent);
        let fetched = Place::of(sent.metadata()).unwrap();
        assert_eq!((fetched.context, fetched.state.as_deref()), (place.context, Some("a=1")));
    }
}
