//! Dead letters: looked at where they lie, and sent back to where they came from.

use std::future::Future;

use futures_util::future::BoxFuture;

use super::ConnectorError;
use crate::transaction::Transaction;

/// Lets dead letters be looked at, and taken out once they were sent back; for the command `dead-letters`.
///
/// ```
/// use std::sync::Mutex;
///
/// use ergon::connector::{LetterFate, Letters, TakeBack, Visitor};
/// use ergon::{Abilities, Connector, ConnectorError, Transaction};
///
/// struct Tray(Mutex<Vec<Transaction>>);
///
/// impl Letters for Tray {
///     async fn visit(&self, visitor: &mut dyn Visitor) -> Result<(), ConnectorError> {
///         let all = std::mem::take(&mut *self.0.lock().unwrap());
///         for letter in all {
///             if visitor.visit(letter.clone()).await != LetterFate::Taken {
///                 self.0.lock().unwrap().push(letter);
///             }
///         }
///         Ok(())
///     }
/// }
///
/// impl TakeBack for Tray {
///     async fn take_back(&self, transaction: Transaction) -> Result<(), ConnectorError> {
///         self.0.lock().unwrap().push(transaction);
///         Ok(())
///     }
/// }
///
/// impl Connector for Tray {
///     const KIND: &'static str = "tray";
///
///     fn abilities(&self) -> Abilities<'_> {
///         Abilities::none().letters(self).take_back(self)
///     }
/// }
/// ```
pub trait Letters: Send + Sync {
    /// Shows the visitor each letter that is there at the beginning, the oldest first. What it has taken is taken out,
    /// for good, before the next is shown; everything else stays.
    ///
    /// # Errors
    /// Why the letters cannot be seen, or one that was taken could not be taken out: it will be seen again.
    fn visit(&self, visitor: &mut dyn Visitor) -> impl Future<Output = Result<(), ConnectorError>> + Send;
}

/// Takes a transaction back that was fetched from here and rejected.
pub trait TakeBack: Send + Sync {
    /// Puts the transaction where a fetch finds it; returns only when the other side has it for good.
    ///
    /// # Errors
    /// Why it was not put there.
    fn take_back(&self, transaction: Transaction) -> impl Future<Output = Result<(), ConnectorError>> + Send;
}

/// Looks at dead letters, one by one.
pub trait Visitor: Send {
    /// Whether it may take letters out; if not, nothing needs to be made ready for that.
    fn takes(&self) -> bool;

    /// Looks at a letter, and says what becomes of it.
    fn visit(&mut self, letter: Transaction) -> BoxFuture<'_, Fate>;
}

/// What becomes of a letter that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Kept,
    /// It was sent back: it is taken out.
    Taken,
    /// It stays, and no other is looked at.
    Enough,
}

pub(crate) trait DynLetters: Send + Sync {
    fn visit<'a>(&'a self, visitor: &'a mut dyn Visitor) -> BoxFuture<'a, Result<(), ConnectorError>>;
}

impl<C: Letters> DynLetters for C {
    fn visit<'a>(&'a self, visitor: &'a mut dyn Visitor) -> BoxFuture<'a, Result<(), ConnectorError>> {
        Box::pin(Letters::visit(self, visitor))
    }
}

pub(crate) trait DynTakeBack: Send + Sync {
    fn take_back(&self, transaction: Transaction) -> BoxFuture<'_, Result<(), ConnectorError>>;
}

impl<C: TakeBack> DynTakeBack for C {
    fn take_back(&self, transaction: Transaction) -> BoxFuture<'_, Result<(), ConnectorError>> {
        Box::pin(TakeBack::take_back(self, transaction))
    }
}
