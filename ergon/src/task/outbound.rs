//! What a hybrid's consumer hands to its producer.

use crate::transaction::Transaction;

/// A list of transactions: what `process_transaction` of a hybrid returns. Implemented by all that is
/// `AsRef<[Transaction]>`: a `Vec`, an array, a slice.
#[diagnostic::on_unimplemented(
    message = "the `Output` of a hybrid task must be a list of transactions, but `{Self}` is not",
    label = "not a list of transactions",
    note = "write `type Output = Vec<Transaction>;` in `impl Consumer`; each of these transactions goes through `impl Producer`"
)]
pub trait Outbound {
    /// The transactions to be prepared and handed on.
    fn transactions(&self) -> &[Transaction];
}

impl<T: AsRef<[Transaction]> + ?Sized> Outbound for T {
    fn transactions(&self) -> &[Transaction] {
        self.as_ref()
    }
}

// A transaction alone is a list of one; as a second impl it also keeps the compiler from speaking of `AsRef`.
impl Outbound for Transaction {
    fn transactions(&self) -> &[Transaction] {
        std::slice::from_ref(self)
    }
}
