//! Two capabilities for dead letters: a connector lists and removes the dead letters that it holds, and a source
//! accepts rejected transactions again.

use std::future::Future;

use futures_util::future::BoxFuture;

use super::ConnectorError;
use crate::transaction::Transaction;

/// A connector whose dead letters can be inspected and removed. The command `dead-letters` needs it.
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
    /// Shows the visitor each dead letter that is present at the start, from the oldest to the newest. If the visitor
    /// returns [`Visit::Remove`], the connector removes the dead letter durably before it shows the next one. All other
    /// dead letters stay.
    ///
    /// # Errors
    /// The reason why the dead letters cannot be read, or why a dead letter could not be removed. The next visit shows
    /// that dead letter again.
    fn visit(
        &self,
        visitor: &mut dyn DeadLetterVisitor,
    ) -> impl Future<Output = Result<(), ConnectorError>> + Send;
}

/// A source that accepts its rejected transactions again. The command `dead-letters replay` needs it.
pub trait Redrive: Send + Sync {
    /// Puts the transaction where a later fetch finds it. Returns only after the external system has stored it durably,
    /// because the dead letter is removed afterwards.
    ///
    /// # Errors
    /// The reason why the transaction was not accepted.
    fn redrive(&self, transaction: Transaction) -> impl Future<Output = Result<(), ConnectorError>> + Send;
}

/// The receiver of dead letters, one by one.
pub trait DeadLetterVisitor: Send {
    /// Whether the visitor may remove letters. If not, the connector can skip the preparation for it.
    fn takes(&self) -> bool;

    /// Inspects a dead letter, and decides about it.
    fn visit(&mut self, letter: Transaction) -> BoxFuture<'_, Visit>;
}

/// The decision about an inspected dead letter.
///
/// ```
/// use ergon::connector::Visit;
///
/// let is_done = true;
/// let decision = if is_done { Visit::Remove } else { Visit::Keep };
/// assert_eq!(decision, Visit::Remove);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// The letter stays.
    Keep,
    /// The letter was processed or sent back, and is removed.
    Remove,
    /// The letter stays, and the visit ends.
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
