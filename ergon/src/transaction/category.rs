//! Gives error types their categories, so that `?` converts them into a [`TransactionError`].

use std::convert::Infallible;
use std::{array, char, env, fmt, io, net, num, str, string, time};

use super::{Category, DecodeError, TransactionError};

/// An error with a category. In a handler, `?` converts it into a [`TransactionError`].
///
/// `#[derive(TransactionError)]` implements it for your own error. For any other error the handler chooses whether a
/// retry can help: [`.system()?`](super::ResultExt::system), [`.timeout()?`](super::ResultExt::timeout) or
/// [`.business()?`](super::ResultExt::business). They also override the category of this table.
///
/// | error | category |
/// |---|---|
/// | `ConnectorError`, `ServiceError` | system |
/// | `HttpError`, `OpenaiError` | their own: `category()` |
/// | [`DecodeError`] | business |
/// | [`std::io::Error`] | timeout where its kind is `TimedOut`, business where it is `InvalidData` or `InvalidInput`, else system |
/// | `serde_json::Error` | business; where reading or writing failed: as the `std::io::Error` inside |
/// | what parsing and converting return: [`ParseIntError`](num::ParseIntError), [`ParseFloatError`](num::ParseFloatError), [`ParseBoolError`](str::ParseBoolError), [`ParseCharError`](char::ParseCharError), [`CharTryFromError`](char::CharTryFromError), [`TryFromIntError`](num::TryFromIntError), [`TryFromSliceError`](array::TryFromSliceError), [`TryFromFloatSecsError`](time::TryFromFloatSecsError), [`Utf8Error`](str::Utf8Error), [`FromUtf8Error`](string::FromUtf8Error), [`FromUtf16Error`](string::FromUtf16Error), [`AddrParseError`](net::AddrParseError) | business |
/// | [`std::fmt::Error`], [`VarError`](env::VarError), [`SystemTimeError`](time::SystemTimeError), `tokio::task::JoinError` | system |
/// | `tokio::time::error::Elapsed` | timeout |
/// | `reqwest::Error`, with the feature `http` | timeout after a time limit or status 408; business where no request could be made, after a redirect, and for a status from 400 to 499 other than 408, 425 and 429; else system |
///
/// ```
/// use ergon::prelude::*;
///
/// fn quantity(path: &str) -> Result<u32> {
///     let text = std::fs::read_to_string(path)?; // system: the disk may be back at the next attempt
///     Ok(text.trim().parse::<u32>()?) // business: the text is the same at the next attempt
/// }
/// assert_eq!(quantity("no/such/file").unwrap_err().category(), Category::System);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say whether a retry can help",
    label = "write `.system()?` (retried) or `.business()?` (never retried); `#[derive(TransactionError)]` gives your own error type a category",
    note = "write `.system()?` (retried) or `.business()?` (never retried); `#[derive(TransactionError)]` gives your own error type a category"
)]
pub trait HasCategory {
    /// Converts the error into a transaction's error.
    fn categorize(self) -> TransactionError;
}

impl<E: HasCategory> From<E> for TransactionError {
    fn from(error: E) -> Self {
        error.categorize()
    }
}

macro_rules! always {
    ($($category:ident: $($error:ty),+;)+) => {
        $($(
            impl HasCategory for $error {
                fn categorize(self) -> TransactionError {
                    TransactionError::from_error(Category::$category, self)
                }
            }
        )+)+
    };
}

always! {
    Business: DecodeError, num::ParseIntError, num::ParseFloatError, str::ParseBoolError, char::ParseCharError,
        char::CharTryFromError, num::TryFromIntError, array::TryFromSliceError, time::TryFromFloatSecsError,
        str::Utf8Error, string::FromUtf8Error, string::FromUtf16Error, net::AddrParseError;
    System: fmt::Error, env::VarError, time::SystemTimeError, tokio::task::JoinError;
    Timeout: tokio::time::error::Elapsed;
}

impl HasCategory for Infallible {
    fn categorize(self) -> TransactionError {
        match self {}
    }
}

impl HasCategory for io::Error {
    fn categorize(self) -> TransactionError {
        TransactionError::from_error(of_io(self.kind()), self)
    }
}

impl HasCategory for serde_json::Error {
    fn categorize(self) -> TransactionError {
        let category = self.io_error_kind().map_or(Category::Business, of_io);
        TransactionError::from_error(category, self)
    }
}

/// The category of a failed read or write: business if the content is wrong, otherwise system or timeout.
fn of_io(kind: io::ErrorKind) -> Category {
    match kind {
        io::ErrorKind::TimedOut => Category::Timeout,
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Category::Business,
        _ => Category::System,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn category(error: impl Into<TransactionError>) -> Category {
        error.into().category()
    }

    #[test]
    fn errors_of_reading_and_writing_say_by_their_kind_whether_to_try_again() {
        let of = |kind| category(io::Error::from(kind));
        assert_eq!(of(io::ErrorKind::TimedOut), Category::Timeout);
        assert_eq!(of(io::ErrorKind::InvalidData), Category::Business);
        assert_eq!(of(io::ErrorKind::InvalidInput), Category::Business);
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::ConnectionReset, io::ErrorKind::StorageFull] {
            assert_eq!(of(kind), Category::System, "{kind}");
        }
    }

    #[test]
    fn json_is_wrong_for_good_unless_it_could_not_be_read() {
        struct Failing(io::ErrorKind);
        impl io::Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
        }
        let read = |kind| serde_json::from_reader::<_, u32>(Failing(kind)).unwrap_err();
        assert_eq!(category(serde_json::from_str::<u32>("{").unwrap_err()), Category::Business);
        assert_eq!(category(serde_json::from_str::<u32>("\"a\"").unwrap_err()), Category::Business);
        assert_eq!(category(read(io::ErrorKind::BrokenPipe)), Category::System);
        assert_eq!(category(read(io::ErrorKind::TimedOut)), Category::Timeout);
    }

    #[test]
    fn what_cannot_be_parsed_is_never_tried_again() {
        let bytes = || vec![0xff_u8];
        let errors: [TransactionError; 12] = [
            "x".parse::<u8>().unwrap_err().into(),
            "x".parse::<f64>().unwrap_err().into(),
            "x".parse::<bool>().unwrap_err().into(),
            "xy".parse::<char>().unwrap_err().into(),
            char::try_from(0xd800_u32).unwrap_err().into(),
            u8::try_from(256_u16).unwrap_err().into(),
            <[u8; 2]>::try_from(&bytes()[..]).unwrap_err().into(),
            Duration::try_from_secs_f64(-1.0).unwrap_err().into(),
            str::from_utf8(&bytes()).unwrap_err().into(),
            String::from_utf8(bytes()).unwrap_err().into(),
            String::from_utf16(&[0xd800]).unwrap_err().into(),
            "x".parse::<net::IpAddr>().unwrap_err().into(),
        ];
        for error in errors {
            assert_eq!(error.category(), Category::Business, "{error}");
        }
    }

    #[test]
    fn the_error_keeps_its_message_and_its_type() {
        let error: TransactionError = "two".parse::<u32>().unwrap_err().into();
        assert_eq!(error.to_string(), "invalid digit found in string");
        assert!(error.downcast_ref::<num::ParseIntError>().is_some());
        assert_eq!(category(fmt::Error), Category::System);
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_limit_of_the_handler_is_a_timeout() {
        let elapsed = tokio::time::timeout(Duration::from_secs(1), std::future::pending::<()>()).await;
        assert_eq!(category(elapsed.unwrap_err()), Category::Timeout);
        let task = tokio::spawn(std::future::pending::<()>());
        task.abort();
        assert_eq!(category(task.await.unwrap_err()), Category::System);
    }
}
