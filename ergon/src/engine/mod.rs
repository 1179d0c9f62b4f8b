//! How it moves: the loop that takes every delivery from fetch to settlement. It knows no connector and no CLI.

mod attempt;
mod concurrently;
mod consume;
mod drain;
mod fetch;
mod life;
mod lifecycle;
mod panic;
mod settle;
mod single;
mod slots;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::error::Error;
use crate::policy::ConsumerPolicy;
use crate::task::{Assembly, Consumer, Parts, Program, Runnable, Setup, TaskConfig};
use crate::telemetry::{RunReport, SingleReport};
use crate::transaction::Transaction;

pub use attempt::run_fn;
pub use concurrently::{Concurrent, RunConcurrently, run_concurrently};

/// Makes the config of a consumer task: how it is built, and how its output is shown. Called by generated code.
pub fn consumer<T, B>(policy: ConsumerPolicy, show: fn(&T::Output) -> Option<Value>, build: B) -> TaskConfig
where
    T: Consumer,
    B: Fn(&mut Parts) -> Result<T, Error> + Send + Sync + 'static,
{
    let program = ConsumerProgram { show, build: Box::new(build) };
    TaskConfig::new::<T>(Arc::new(program)).with_consumer(policy)
}

type Build<T> = Box<dyn Fn(&mut Parts) -> Result<T, Error> + Send + Sync>;

struct ConsumerProgram<T: Consumer> {
    show: fn(&T::Output) -> Option<Value>,
    build: Build<T>,
}

impl<T: Consumer> Program for ConsumerProgram<T> {
    fn assemble(&self, mut parts: Parts) -> Result<Assembly, Error> {
        let task = Arc::new((self.build)(&mut parts)?);
        Ok(Assembly { parts, task: Box::new(ConsumerTask { task, show: self.show }) })
    }
}

struct ConsumerTask<T: Consumer> {
    task: Arc<T>,
    show: fn(&T::Output) -> Option<Value>,
}

impl<T: Consumer> Runnable for ConsumerTask<T> {
    fn run(&self, setup: Setup) -> BoxFuture<'_, RunReport> {
        Box::pin(consume::consume(&self.task, setup))
    }

    fn process(&self, setup: Setup, transaction: Transaction, dry_run: bool) -> BoxFuture<'_, SingleReport> {
        Box::pin(single::process(self.task.as_ref(), self.show, setup, transaction, dry_run))
    }
}
