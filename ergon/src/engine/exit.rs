//! Calls the `exit` hook of a task.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::attempt::guarded;
use super::blocking::{Threads, on_threads};
use super::role::Role;
use crate::error::{Error, ErrorKind};
use crate::telemetry::{Ended, RunReport};
use crate::transaction::{Result, TransactionError, panic};

/// The time limit of an `exit` hook, so that a hook that hangs does not keep a finished run from ending.
const EXIT_WITHIN: Duration = Duration::from_secs(30);

/// Calls the task's `exit` hook.
pub(super) async fn exit(role: &Arc<dyn Role>) -> Result<()> {
    let role = Arc::clone(role);
    let blocking = role.info().blocking;
    let exit = async move { guarded(&mut None, role.exit()).await.and_then(|left| left) };
    if blocking { bounded(on_threads(exit, &Threads::new(1))).await } else { bounded(exit).await }
}

/// Waits for an `exit` hook, within its time limit.
pub(super) async fn bounded(exit: impl Future<Output = Result<()>>) -> Result<()> {
    let mut exit = Box::pin(exit);
    let left = tokio::time::timeout(EXIT_WITHIN, exit.as_mut()).await;
    // The `Drop` of a hook that is cancelled may panic.
    let _ = panic::guard(|| drop(exit));
    left.unwrap_or_else(|_| {
        let what = format!("it did not end within {} seconds", EXIT_WITHIN.as_secs());
        Err(TransactionError::timeout(what))
    })
}

/// Makes a run that ended well fail if its exit hook failed.
pub(super) fn leave(mut report: RunReport, left: Result<()>) -> RunReport {
    if let (Err(failure), false) = (left, matches!(report.ended, Ended::Failed(_))) {
        let message = format!("the exit hook of `{}` failed: {failure}", report.task);
        report.ended = Ended::Failed(Error::new(ErrorKind::Task, message));
    }
    report
}
