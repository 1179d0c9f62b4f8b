//! ACME as lists in this process, in the place of the calls that a project writes.
//!
//! Its calls are `async` as those that ask a server, even where a list needs no wait.
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

/// The numbers of what is done or refused, by list: it is not handed out again.
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
        // An answer takes its time: others ask meanwhile.
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
