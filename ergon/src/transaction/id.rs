//! The ids of transactions: unique for a new transaction, and the same for each delivery and each derived child.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// An id of at most this many bytes is made on the stack.
const SHORT: usize = 96;

/// The id of a transaction: a text that is the same in every delivery. Clones share the text.
///
/// ```
/// use ergon::transaction::TransactionId;
///
/// let id = TransactionId::from("orders.csv:7");
/// assert_eq!(id.as_str(), "orders.csv:7");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(Arc<str>);

impl TransactionId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id in its shared form, for spans and log lines that outlive the transaction.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// Makes the id from a name, a separator and a number, with one allocation if the id is short.
    pub(crate) fn numbered(name: &str, separator: u8, number: u64) -> Self {
        let mut short = [0; SHORT];
        let mut from = SHORT;
        let mut put = |bytes: &[u8]| {
            let start = from.checked_sub(bytes.len())?;
            short.get_mut(start..from)?.copy_from_slice(bytes);
            from = start;
            Some(())
        };
        let mut left = number;
        let written = loop {
            // A digit is less than 10.
            let digit = b'0' + u8::try_from(left % 10).unwrap_or_default();
            left /= 10;
            match put(&[digit]) {
                Some(()) if left > 0 => {}
                Some(()) => break put(&[separator]).and_then(|()| put(name.as_bytes())),
                None => break None,
            }
        };
        let short = written.and_then(|()| std::str::from_utf8(short.get(from..)?).ok());
        match short {
            Some(id) => Self(id.into()),
            None => Self(format!("{name}{}{number}", char::from(separator)).into()),
        }
    }

    /// Makes an id that is unique on this machine: nanoseconds since 1970, process id and a counter, in hexadecimal.
    pub(crate) fn generate() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // `Relaxed`, because the count only has to be unique.
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("{:x}-{:x}-{count:x}", now.as_nanos(), std::process::id()).into())
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for TransactionId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TransactionId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl From<String> for TransactionId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl From<Arc<str>> for TransactionId {
    fn from(id: Arc<str>) -> Self {
        Self(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbered_id_is_its_name_and_number_however_long_they_are() {
        for name in ["", "orders.csv", &"ü".repeat(36), &"x".repeat(SHORT - 20), &"x".repeat(500)] {
            for number in [0, 7, 10, 12_345, u64::MAX] {
                let id = TransactionId::numbered(name, b':', number);
                assert_eq!(id.as_str(), format!("{name}:{number}"));
            }
        }
    }
}
