//! Writes and reads JSON without silent losses: no number becomes `null`, and no number loses digits without an error.
//!
//! `serde_json` writes `null` for a number that JSON has no form for (NaN, the infinities), and rounds a number of a
//! text to the nearest 64-bit float. [`to_bytes`] refuses the first. [`from_slice`] refuses the second, unless the
//! reader asked for a float.

mod digits;
mod finite;
mod kept;

pub(crate) use digits::all_kept;
pub(crate) use digits::keeps;
pub(crate) use finite::{WriteError, to_bytes};
pub(super) use kept::watched;

use serde::de::DeserializeOwned;

/// Reads all of `bytes` as JSON.
///
/// The feature `arbitrary_precision` of `serde_json` would keep all digits, but it breaks flattened and untagged types
/// of the whole program.
///
/// # Errors
/// The bytes are not JSON, do not fit `T`, or have a number whose digits `T` would lose although it did not ask for a
/// float.
pub(crate) fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    if all_kept(bytes) { serde_json::from_slice(bytes) } else { watched(bytes, |json| T::deserialize(json)) }
}

/// The reason why a text does not become a type.
#[cfg(feature = "http")]
pub(crate) struct Located {
    /// The path of the field that does not fit, `.` for the value itself; `None` for text after the value.
    pub(crate) field: Option<String>,
    pub(crate) error: serde_json::Error,
}

#[cfg(feature = "http")]
impl From<serde_json::Error> for Located {
    fn from(error: serde_json::Error) -> Self {
        Self { field: None, error }
    }
}

#[cfg(feature = "http")]
impl From<serde_path_to_error::Error<serde_json::Error>> for Located {
    fn from(error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        Self { field: Some(error.path().to_string()), error: error.into_inner() }
    }
}

/// Reads all of `bytes` as JSON, as [`from_slice`] does, and names the field that does not fit.
///
/// # Errors
/// The errors of [`from_slice`].
#[cfg(feature = "http")]
pub(crate) fn from_slice_located<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Located> {
    if !all_kept(bytes) {
        return watched(bytes, |json| Ok(serde_path_to_error::deserialize(json)?));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}
