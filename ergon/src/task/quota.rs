//! Shares a limit among several processes, so that the workers together fetch exactly the limit. The supervisor grants
//! parts of the limit, and a loop asks for more before its part is used up.
//!
//! | part | side |
//! |---|---|
//! | [`Allowance`] | the loop, as a pure state machine |
//! | `runner/supervisor/grants.rs` | the supervisor |
//! | [`Claim`] | message from a loop to the supervisor |
//! | [`Grant`] | message from the supervisor to a loop |
//!
//! Messages keep their order in each direction. A property test drives both sides together.

use std::fmt;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// A limit that is shared with other processes.
pub(crate) trait Quota: Send + Sync + fmt::Debug {
    /// Starts the draw of one loop, and calls `on_grant` with each grant. Dropping the draw returns its unused part to
    /// the other loops.
    fn draw(&self, limit: u64, on_grant: Box<dyn Fn(Grant) + Send + Sync>) -> Box<dyn Draw>;
}

/// One loop's connection to the quota.
pub(crate) trait Draw: Send + Sync + fmt::Debug {
    /// Queues a claim without waiting. Claims are sent in their order.
    fn claim(&self, claim: Claim) -> Mark;

    /// Sends as many claims as the receiver accepts now. The other claims are sent with a later claim or report.
    fn send(&self);

    /// Waits until all claims up to this mark have left the process, so that they count even if the process dies then.
    ///
    /// # Cancel safety
    /// Cancel safe: the claims are sent all the same.
    fn sent(&self, mark: Mark) -> BoxFuture<'_, ()>;
}

/// A position in the order of the claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark(pub(crate) u64);

/// A loop's message about its part of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// The number of transactions fetched so far. A transaction that a producer's stream takes back and yields again
    /// counts once.
    pub(crate) taken: u64,
    /// The number of grants that the loop returns now.
    pub(crate) returned: u64,
    /// A request for more.
    pub(crate) wants: Option<Want>,
    /// Whether the loop has returned every grant that it could return since the recall.
    pub(crate) recalled: bool,
}

/// The urgency of a request for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Want {
    /// The loop will soon have used its grants.
    Ahead,
    /// The loop has no grant left, and a free slot.
    Now,
}

/// The supervisor's message to a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Grant {
    /// The loop may fetch this many more.
    More(u64),
    /// The loops have fetched the whole limit.
    UsedUp,
    /// Other loops need the unused grants: the loop returns them.
    Recall,
}

/// The number of deliveries that a loop may fetch: its own limit, or its part of a shared limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// The total that is granted so far.
    granted: u64,
    /// Whether no further grant can come.
    last: bool,
    /// The number of deliveries that the loop has reported as fetched.
    taken: u64,
    /// The open request.
    asked: Option<Want>,
    recalled: bool,
    /// The remainder at which the loop asks for more: half of the last grant.
    low: u64,
}

/// The state of a loop when it decides whether to send a claim.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// The number of deliveries that the loop has fetched, or is asking its source for.
    pub(crate) fetched: u64,
    /// Whether a fetch is running.
    pub(crate) fetching: bool,
    /// Whether the loop has a free slot for a fetch.
    pub(crate) vacant: bool,
    /// Whether the source may have more.
    pub(crate) open: bool,
}

impl Allowance {
    /// Returns the loop's own limit.
    pub(crate) fn own(limit: u64) -> Self {
        Self { granted: limit, last: true, ..Self::drawn() }
    }

    /// Returns a part of a shared limit: nothing until the supervisor grants it.
    pub(crate) fn drawn() -> Self {
        Self { granted: 0, last: false, taken: 0, asked: None, recalled: false, low: 0 }
    }

    /// Returns the number of deliveries that the loop may fetch now; 0 during a recall, until the loop has answered it.
    pub(crate) fn left(&self, fetched: u64) -> u64 {
        if self.recalled { 0 } else { self.granted.saturating_sub(fetched) }
    }

    /// Returns whether the loop has fetched all it may ever fetch.
    pub(crate) fn is_used_up(&self, fetched: u64) -> bool {
        self.last && fetched >= self.granted
    }

    /// Returns whether the supervisor has recalled the unused grants.
    pub(crate) fn is_recalled(&self) -> bool {
        self.recalled
    }

    /// Applies a grant.
    pub(crate) fn apply(&mut self, grant: Grant) {
        match grant {
            Grant::More(count) => {
                self.granted = self.granted.saturating_add(count);
                (self.asked, self.low) = (None, count / 2);
            }
            Grant::UsedUp => self.last = true,
            Grant::Recall => self.recalled = true,
        }
    }

    /// Returns the claim for the total fetched so far. It must be sent before any of the last deliveries starts.
    pub(crate) fn take(&mut self, fetched: u64) -> Claim {
        self.taken = self.taken.max(fetched);
        Claim { taken: self.taken, ..Claim::default() }
    }

    /// Returns the claim to send now, if there is one: it returns unused grants, or asks for more.
    pub(crate) fn say(&mut self, now: Moment) -> Option<Claim> {
        if self.last {
            return None;
        }
        let mut claim = Claim { taken: self.taken, ..Claim::default() };
        if self.recalled || !now.open {
            // A transaction that the stream took back is tried again in this loop, so its grant stays.
            claim.returned = self.granted.saturating_sub(now.fetched.max(self.taken));
            self.granted = self.granted.saturating_sub(claim.returned);
            claim.recalled = self.recalled && !now.fetching;
            self.recalled &= now.fetching;
        }
        let left = self.granted.saturating_sub(now.fetched);
        let wants = match now {
            Moment { open: false, .. } => None,
            Moment { vacant: true, fetching: false, .. } if left == 0 => Some(Want::Now),
            _ => (left <= self.low).then_some(Want::Ahead),
        };
        if wants > self.asked {
            (claim.wants, self.asked) = (wants, wants);
        }
        let silent = claim.returned == 0 && claim.wants.is_none() && !claim.recalled;
        (!silent).then_some(claim)
    }
}
