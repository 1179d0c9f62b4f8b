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
/// use ergon::connector::{Visit, DeadLetters, Redrive, DeadLetterVisitor};
/// use ergon::connector::{Capabilities, ConnectorError};
/// use ergon::{Connector, Transaction};
///
/// struct Tray(Mutex<Vec<Transaction>>);
///
/// impl DeadLetters for Tray {
///     async fn visit(&self, visitor: &mut dyn DeadLetterVisitor) -> Result<(), ConnectorError> {
///         let all = std::mem::take(&mut *self.0.lock().unwrap());
///         for letter in all {
///             if visitor.visit(letter.clone()).await != Visit::Remove {
///                 self.0.lock().unwrap().push(letter);
///             }
///         }
///         Ok(())
///     }
/// }
///
/// impl Redrive for Tray {
///     async fn redrive(&self, transaction: Transaction) -> Result<(), ConnectorError> {
///         self.0.lock().unwrap().push(transaction);
///         Ok(())
///     }
/// }
///
/// impl Connector for Tray {
///     const KIND: &'static str = "tray";
///
///     fn capabilities(&self) -> Capabilities<'_> {
///         Capabilities::none().dead_letters(self).redrive(self)
///     }
/// }
/// ```
pub trait DeadLetters: Send + Sync {
    /// Shows the visitor each letter that is there at the beginning, the oldest first. What it has taken is taken out,
    /// for good, before the next is shown; everything else stays.
    ///
    /// # Errors
    /// Why the letters cannot be seen, or one that was taken could not be taken out: it will be seen again.
    fn visit(
        &self,
        visitor: &mut dyn DeadLetterVisitor,
    ) -> impl Future<Output = Result<(), ConnectorError>> + Send;
}

/// Takes a transaction back that was fetched from here and rejected.
pub trait Redrive: Send + Sync {
    /// Puts the transaction where a fetch finds it; returns only when the other side has it for good.
    ///
    /// # Errors
    /// Why it was not put there.
    fn redrive(&self, transaction: Transaction) -> impl Future<Output = Result<(), ConnectorError>> + Send;
}

/// Looks at dead letters, one by one.
pub trait DeadLetterVisitor: Send {
    /// Whether it may take letters out; if not, nothing needs to be made ready for that.
    fn takes(&self) -> bool;

    /// Looks at a letter, and says what becomes of it.
    fn visit(&mut self, letter: Transaction) -> BoxFuture<'_, Visit>;
}

/// What becomes of a letter that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// It stays.
    Keep,
    /// It was sent back: it is taken out.
    Remove,
    /// It stays, and no other is looked at.
    Stop,
}

pub(crate) trait DynDeadLetters: Send + Sync {
    fn visit<'a>(
        &'a self,
        visitor: &'a mut dyn DeadLetterVisitor,
    ) -> BoxFuture<'a, Result<(), ConnectorError>>;
}

impl<C: DeadLetters> DynDeadLetters for C {
    fn visit<'a>(
        &'a self,
        visitor: &'a mut dyn DeadLetterVisitor,
    ) -> BoxFuture<'a, Result<(), ConnectorError>> {
        Box::pin(DeadLetters::visit(self, visitor))
    }
}

pub(crate) trait DynRedrive: Send + Sync {
    fn redrive(&self, transaction: Transaction) -> BoxFuture<'_, Result<(), ConnectorError>>;
}

impl<C: Redrive> DynRedrive for C {
    fn redrive(&self, transaction: Transaction) -> BoxFuture<'_, Result<(), ConnectorError>> {
        Box::pin(Redrive::redrive(self, transaction))
    }
}
