//! Represents a task in one of its roles as a trait object, so that the loops do not depend on the task's type.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::lane::Lane;
use super::processing::Processing;
use super::steps::{RoleInfo, Steps};
use super::worker::{run_steps, work};
use crate::transaction::Result;

/// A task in one of its roles, without its type.
pub(super) trait Role: Send + Sync {
    fn info(&self) -> RoleInfo;

    /// Runs the deliveries of a lane through the steps, until there are no more.
    fn work(self: Arc<Self>, lane: Lane) -> BoxFuture<'static, ()>;

    /// Runs one transaction through the steps.
    fn process<'a>(&'a self, processing: &'a mut Processing<'_>) -> BoxFuture<'a, ()>;

    /// Calls the `exit` hook.
    fn exit(self: Arc<Self>) -> BoxFuture<'static, Result<()>>;
}

impl<S: Steps> Role for S {
    fn info(&self) -> RoleInfo {
        S::INFO
    }

    fn work(self: Arc<Self>, lane: Lane) -> BoxFuture<'static, ()> {
        Box::pin(work(self, lane))
    }

    fn process<'a>(&'a self, processing: &'a mut Processing<'_>) -> BoxFuture<'a, ()> {
        Box::pin(run_steps(self, processing))
    }

    fn exit(self: Arc<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move { Steps::exit(&*self).await })
    }
}

impl fmt::Debug for dyn Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Role").field("info", &self.info()).finish()
    }
}
