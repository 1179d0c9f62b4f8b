//! Receipts: the source's own reference to a delivery. A receipt settles its delivery once, and a dropped receipt gives
//! its delivery back.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::telemetry::traces::Batch;

/// The source's reference to one delivery, with which it settles the delivery: a number (a tag, a row), an epoch, and
/// optionally the source's own token.
///
/// A receipt cannot be copied, and settling consumes it. A receipt that is dropped unused returns to the handle through
/// which its delivery was fetched. The next settle through that handle requeues the delivery.
///
/// ```
/// let receipt = ergon::connector::Receipt::new(7).with_epoch(2);
/// assert_eq!((receipt.tag(), receipt.epoch()), (7, 2));
/// ```
pub struct Receipt {
    tag: u64,
    epoch: u64,
    token: Option<Box<dyn Any + Send + Sync>>,
    /// The handle that gets the receipt back if it is dropped unused. Set by the handle, cleared by settling.
    home: Option<Arc<Returned>>,
    /// The traced batch that the delivery was fetched in. The batch's span ends with its last receipt.
    batch: Option<Arc<Batch>>,
}

impl Receipt {
    /// Makes a receipt of a number that identifies the delivery to the source.
    pub fn new(tag: u64) -> Self {
        Self { tag, epoch: 0, token: None, home: None, batch: None }
    }

    /// Sets the epoch: the channel, connection or lease for which the tag is valid. A source must not settle a tag of
    /// another epoch.
    #[must_use]
    pub fn with_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// Adds a token of the source's own type, for sources that need more than a number.
    #[must_use]
    pub fn with_token<T: Any + Send + Sync>(mut self, token: T) -> Self {
        self.token = Some(Box::new(token));
        self
    }

    /// The number that identifies the delivery.
    pub fn tag(&self) -> u64 {
        self.tag
    }

    /// The epoch of the number. Default: 0.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The token, if there is one of this type.
    pub fn token<T: Any>(&self) -> Option<&T> {
        self.token.as_ref()?.downcast_ref()
    }

    pub(crate) fn returns_to(&mut self, home: &Arc<Returned>) {
        self.home = Some(Arc::clone(home));
    }

    pub(crate) fn belongs_to(&mut self, batch: &Arc<Batch>) {
        self.batch = Some(Arc::clone(batch));
    }

    pub(crate) fn batch(&self) -> Option<&Batch> {
        self.batch.as_deref()
    }

    pub(super) fn use_up(&mut self) {
        self.home = None;
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            let (tag, epoch, token) = (self.tag, self.epoch, self.token.take());
            home.put(Self { tag, epoch, token, home: None, batch: None });
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tag, epoch, .. } = self;
        f.debug_struct("Receipt").field("tag", tag).field("epoch", epoch).finish_non_exhaustive()
    }
}

/// Receipts that were dropped unused, and wait for the next settle. A poisoned lock is used too, because a push or a
/// take is never half done.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    receipts: Mutex<Vec<Receipt>>,
}

impl Returned {
    fn put(&self, receipt: Receipt) {
        self.receipts.lock().unwrap_or_else(PoisonError::into_inner).push(receipt);
    }

    pub(crate) fn take(&self) -> Vec<Receipt> {
        std::mem::take(&mut *self.receipts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::{Disposition, Settlement};

    #[test]
    fn a_dropped_receipt_comes_back_once() {
        let home = Arc::new(Returned::default());
        let mut receipt = Receipt::new(3).with_token("lease");
        receipt.returns_to(&home);
        drop(receipt);
        let returned = home.take();
        assert_eq!(returned.len(), 1);
        assert_eq!((returned[0].tag(), returned[0].token::<&str>()), (3, Some(&"lease")));
        drop(returned);
        assert!(home.take().is_empty());
    }

    #[test]
    fn a_settled_receipt_does_not_come_back() {
        let home = Arc::new(Returned::default());
        let mut receipt = Receipt::new(3);
        receipt.returns_to(&home);
        drop(Settlement::new(receipt, Disposition::Ack));
        assert!(home.take().is_empty());
    }
}
