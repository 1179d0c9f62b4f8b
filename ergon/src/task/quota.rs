//! A limit that several processes draw on: it is handed out in grants, asked for ahead of need.
//!
//! [`Allowance`] is the side of the loop that draws, as a pure state machine; the supervisor's side is
//! `runner/supervisor/grants.rs`. A property test drives both together. All that goes from a loop to the supervisor is a
//! [`Claim`], all that comes back a [`Grant`]; each way keeps its order.

use std::fmt;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// Hands out a limit that other processes draw on too.
pub(crate) trait Quota: Send + Sync + fmt::Debug {
    /// Begins to draw for one loop; `on_grant` is called with each grant. When the draw is dropped, what it did not use is
    /// free for the others.
    fn draw(&self, limit: u64, on_grant: Box<dyn Fn(Grant) + Send + Sync>) -> Box<dyn Draw>;
}

/// One loop's way to its quota.
pub(crate) trait Draw: Send + Sync + fmt::Debug {
    /// Takes in what the loop says, without waiting. Claims leave in the order in which they were made.
    fn claim(&self, claim: Claim) -> Mark;

    /// Sends as much of the claims as the other side takes now. The rest is sent with a later claim or report.
    fn send(&self);

    /// Waits until all claims up to this mark have left the process, so that they count even if the process dies then.
    ///
    /// # Cancel safety
    /// Cancel safe: the claims are sent all the same.
    fn sent(&self, mark: Mark) -> BoxFuture<'_, ()>;
}

/// A place in the order of what was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark(pub(crate) u64);

/// What a loop says about its part of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// How many it has fetched so far. What a producer's stream takes back and makes again counts once.
    pub(crate) taken: u64,
    /// How many of its grants it gives back now.
    pub(crate) returned: u64,
    /// Whether it asks for more.
    pub(crate) wants: Option<Want>,
    /// Whether all that it could give back since it was asked to is back.
    pub(crate) recalled: bool,
}

/// How much a loop wants more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Want {
    /// It will soon have used what it has.
    Ahead,
    /// It has nothing left, and a free slot.
    Now,
}

/// What a loop is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Grant {
    /// It may fetch so many more.
    More(u64),
    /// All of the limit is fetched, by whichever loop.
    UsedUp,
    /// Others need what it does not use: it gives that back.
    Recall,
}

/// How many deliveries a loop may fetch: a limit of its own, or its part of one that others draw on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// How many in all, as far as known.
    granted: u64,
    /// Whether that is all there will be.
    last: bool,
    /// How many it has reported as fetched.
    taken: u64,
    /// What it has asked for and not got.
    asked: Option<Want>,
    recalled: bool,
    /// With so many left it asks for more: half of the last grant.
    low: u64,
}

/// What a loop does at the moment when it looks whether it has something to say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// How many it has fetched, or is asking its source for.
    pub(crate) fetched: u64,
    /// Whether a fetch is under way.
    pub(crate) fetching: bool,
    /// Whether it would fetch if it were allowed to.
    pub(crate) vacant: bool,
    /// Whether its source may have more.
    pub(crate) open: bool,
}

impl Allowance {
    /// A limit of its own.
    pub(crate) fn own(limit: u64) -> Self {
        Self { granted: limit, last: true, ..Self::drawn() }
    }

    /// A part of one that others draw on: nothing until it is granted.
    pub(crate) fn drawn() -> Self {
        Self { granted: 0, last: false, taken: 0, asked: None, recalled: false, low: 0 }
    }

    /// How many may be asked of the source now; none before it is said what is given back, if that is wanted.
    pub(crate) fn left(&self, fetched: u64) -> u64 {
        if self.recalled { 0 } else { self.granted.saturating_sub(fetched) }
    }

    /// Whether all is fetched that may ever be.
    pub(crate) fn is_used_up(&self, fetched: u64) -> bool {
        self.last && fetched >= self.granted
    }

    /// Whether what a fetch asks its source for is wanted back.
    pub(crate) fn is_recalled(&self) -> bool {
        self.recalled
    }

    /// Takes in what comes from the quota.
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

    /// So many have come from the source in all; the claim has to be sent before any of the last ones is begun.
    pub(crate) fn take(&mut self, fetched: u64) -> Claim {
        self.taken = self.taken.max(fetched);
        Claim { taken: self.taken, ..Claim::default() }
    }

    /// What is to be said now, if anything is: to give back what is not used here, or to ask for more.
    pub(crate) fn say(&mut self, now: Moment) -> Option<Claim> {
        if self.last {
            return None;
        }
        let mut claim = Claim { taken: self.taken, ..Claim::default() };
        if self.recalled || !now.open {
            // What a stream has taken back is tried again here.
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
