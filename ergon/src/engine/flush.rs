//! Flushes the buffers of a run's sinks before the engine settles.
//!
//! No delivery is acknowledged whose transactions are only in the memory of this process. If a flush loses a
//! transaction, the engine gives back the delivery whose steps dispatched it. The delivery is processed again, and its
//! next dispatch reports the error of the sink.

use super::completed::Completed;
use super::count::returns;
use super::finished::Finished;
use super::run_state::RunState;
use crate::connector::Buffers;
use crate::telemetry::event::FlushFailed;

/// Flushes the buffers, and gives back each of these deliveries of which a flush lost a transaction.
pub(super) fn flush(run: &RunState, buffers: &Buffers, finished: &mut [Finished]) {
    let (lost, errors) = buffers.flush();
    for error in errors {
        FlushFailed { task: run.task, error: &error }.emit();
    }
    if lost.is_empty() {
        return;
    }
    let mut given_back = 0;
    for finished in finished {
        if lost.is_of(finished.pushes) && !returns(&finished.completed) {
            finished.completed = Completed::aborted();
            given_back += 1;
        }
    }
    if run.context.drain.is_cancelled() {
        run.slots.left_to_do(given_back);
    }
}
