//! Represents ACME as lists in this process, in place of the calls that a project writes.
//!
//! The calls are `async`, as calls to a server are, even if a list needs no wait.
#![expect(clippy::unused_async, reason = "a server would be awaited")]

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::mem::replace;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use ergon::prelude::*;
use ergon::service::Service;

use super::errors::CallError;
use super::schemas::Record;

static LISTS: Mutex<BTreeMap<String, Vec<Record>>> = Mutex::new(BTreeMap::new());

/// The numbers of acknowledged and rejected entries, by list. They are not delivered again.
static SETTLED: Mutex<BTreeSet<(String, u64)>> = Mutex::new(BTreeSet::new());

fn lists() -> MutexGuard<'static, BTreeMap<String, Vec<Record>>> {
    LISTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls ACME.
#[derive(Debug, Service)]
pub(crate) struct AcmeApiClient {
    url: String,
}

impl AcmeApiClient {
    pub(crate) async fn page(&self, after: u64, most: usize) -> Result<Vec<Record>, CallError> {
        let mut lists = lists().get(&self.url).cloned().unwrap_or_default();
        {
            let settled = SETTLED.lock().unwrap_or_else(PoisonError::into_inner);
            lists.retain(|record| !settled.contains(&(self.url.clone(), record.number)));
        }
        // The answer takes some time, so that other calls run in the meantime.
        let mut asked = false;
        poll_fn(|context| {
            context.waker().wake_by_ref();
            if replace(&mut asked, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Ok(lists.into_iter().filter(|record| record.number > after).take(most).collect())
    }

    pub(crate) async fn done(&self, number: u64) -> Result<(), CallError> {
        let mut settled = SETTLED.lock().unwrap_or_else(PoisonError::into_inner);
        settled.insert((self.url.clone(), number));
        Ok(())
    }

    pub(crate) async fn refused(&self, number: u64) -> Result<(), CallError> {
        self.done(number).await
    }

    pub(crate) async fn add(&self, _: &str, content: &Value) -> Result<(), CallError> {
        let mut lists = lists();
        let list = lists.entry(self.url.clone()).or_default();
        list.push(Record { number: list.len() as u64 + 1, content: content.clone() });
        Ok(())
    }
}
