//! The output of a hybrid's consumer: the list of transactions that its producer receives.

use crate::transaction::Transaction;

/// A list of transactions: the output of `process_transaction` in a hybrid.
///
/// Every type that implements `AsRef<[Transaction]>` is such a list: a `Vec`, an array, a slice. A [`Transaction`]
/// alone is a list with one item.
///
/// ```
/// use ergon::Transaction;
/// use ergon::task::Outbound;
///
/// let one = Transaction::new("a", &1).unwrap();
/// assert_eq!(Outbound::transactions(&vec![one.clone(), one.clone()]).len(), 2);
/// assert_eq!(Outbound::transactions(&one).len(), 1);
/// ```
#[diagnostic::on_unimplemented(
    message = "the `Output` of a hybrid task must be a list of transactions, but `{Self}` is not",
    label = "not a list of transactions",
    note = "write `type Output = Vec<Transaction>;` in `impl Consumer`; each of these transactions goes through `impl Producer`"
)]
pub trait Outbound {
    /// Returns the transactions that go through the steps of the producer.
    fn transactions(&self) -> &[Transaction];
}

impl<T: AsRef<[Transaction]> + ?Sized> Outbound for T {
    fn transactions(&self) -> &[Transaction] {
        self.as_ref()
    }
}

// A transaction is a list with one item. Because this is a second impl, the compiler's error names this trait and not
// `AsRef`.
impl Outbound for Transaction {
    fn transactions(&self) -> &[Transaction] {
        std::slice::from_ref(self)
    }
}
