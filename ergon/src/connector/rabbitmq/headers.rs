//! Converts between AMQP headers and metadata, and limits their size to a frame.
//!
//! Metadata are JSON, which has one kind of number, no bytes and no decimals. A value that JSON cannot express is
//! kept in two parts: the value as JSON, and its *kind*. Both parts together make the same field again. The kinds of
//! all headers are one entry of the metadata, [`HEADER_TYPES`](super::key::HEADER_TYPES). If the value was replaced
//! and its kind no longer fits, the field has the type that JSON gives it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable, ShortString};
use serde_json::{Map, Number, Value};

use crate::connector::ConnectorError;

/// The names of the kinds. The value of a kind is a number unless its constant says otherwise.
mod kind {
    pub(super) const INT8: &str = "int8";
    pub(super) const UINT8: &str = "uint8";
    pub(super) const INT16: &str = "int16";
    pub(super) const UINT16: &str = "uint16";
    pub(super) const INT32: &str = "int32";
    pub(super) const UINT32: &str = "uint32";
    pub(super) const FLOAT: &str = "float";
    /// Seconds since 1970.
    pub(super) const TIMESTAMP: &str = "timestamp";
    /// Text in base64.
    pub(super) const BYTES: &str = "bytes";
    /// Text that is not UTF-8, in base64.
    pub(super) const TEXT: &str = "text";
    /// A decimal, followed by the number of digits after the point.
    pub(super) const DECIMAL: &str = "decimal:";
    /// A float that is not finite, null in JSON, followed by its bits.
    pub(super) const FLOAT_BITS: &str = "float:";
    /// A double that is not finite, null in JSON, followed by its bits.
    pub(super) const DOUBLE_BITS: &str = "double:";
}

/// Converts a field to JSON, with its kind if JSON cannot express it. The kind of an array or a table is an object:
/// the kinds of its items, by position from 0 or by name.
pub(super) fn json(field: &AMQPValue) -> (Value, Option<Value>) {
    let of = |value: Value, kind: &str| (value, Some(kind.into()));
    match field {
        AMQPValue::Boolean(value) => ((*value).into(), None),
        AMQPValue::ShortShortInt(value) => of((*value).into(), kind::INT8),
        AMQPValue::ShortShortUInt(value) => of((*value).into(), kind::UINT8),
        AMQPValue::ShortInt(value) => of((*value).into(), kind::INT16),
        AMQPValue::ShortUInt(value) => of((*value).into(), kind::UINT16),
        AMQPValue::LongInt(value) => of((*value).into(), kind::INT32),
        AMQPValue::LongUInt(value) => of((*value).into(), kind::UINT32),
        AMQPValue::LongLongInt(value) => ((*value).into(), None),
        AMQPValue::Float(value) if value.is_finite() => of(f64::from(*value).into(), kind::FLOAT),
        AMQPValue::Float(value) => of(Value::Null, &format!("{}{:08x}", kind::FLOAT_BITS, value.to_bits())),
        AMQPValue::Double(value) if value.is_finite() => ((*value).into(), None),
        AMQPValue::Double(value) => {
            of(Value::Null, &format!("{}{:016x}", kind::DOUBLE_BITS, value.to_bits()))
        }
        AMQPValue::DecimalValue(decimal) => {
            of(decimal_number(*decimal).into(), &format!("{}{}", kind::DECIMAL, decimal.scale))
        }
        AMQPValue::Timestamp(seconds) => of((*seconds).into(), kind::TIMESTAMP),
        AMQPValue::ShortString(text) => (text.as_str().into(), None),
        AMQPValue::LongString(text) => match std::str::from_utf8(text.as_bytes()) {
            Ok(text) => (text.into(), None),
            Err(_) => of(STANDARD.encode(text.as_bytes()).into(), kind::TEXT),
        },
        AMQPValue::ByteArray(bytes) => of(STANDARD.encode(bytes.as_slice()).into(), kind::BYTES),
        AMQPValue::Void => (Value::Null, None),
        AMQPValue::FieldArray(values) => {
            let mut kinds = Map::new();
            let items = values.as_slice().iter().enumerate();
            let shown = items.map(|(at, item)| noting(&mut kinds, &at.to_string(), item)).collect();
            (Value::Array(shown), some(kinds))
        }
        AMQPValue::FieldTable(table) => {
            let mut kinds = Map::new();
            let items = table.into_iter().map(|(name, item)| (name.as_str(), item));
            let shown = items.map(|(name, item)| (name.to_owned(), noting(&mut kinds, name, item))).collect();
            (Value::Object(shown), some(kinds))
        }
    }
}

/// Converts a field to JSON, and adds its kind to the others.
pub(super) fn noting(kinds: &mut Map<String, Value>, name: &str, field: &AMQPValue) -> Value {
    let (value, kind) = json(field);
    if let Some(kind) = kind {
        kinds.insert(name.to_owned(), kind);
    }
    value
}

fn some(kinds: Map<String, Value>) -> Option<Value> {
    (!kinds.is_empty()).then_some(Value::Object(kinds))
}

/// A name in a table that is too long: AMQP allows 255 bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NameTooLong(pub(super) usize);

/// Converts a name to AMQP.
///
/// # Errors
/// The length of a name that is too long.
pub(super) fn name(text: &str) -> Result<ShortString, NameTooLong> {
    ShortString::try_new(text).map_err(|_| NameTooLong(text.len()))
}

/// Converts a JSON value to a field, of this kind if the value fits.
///
/// # Errors
/// A name in a table that is too long.
pub(super) fn field(value: &Value, kind: Option<&Value>) -> Result<AMQPValue, NameTooLong> {
    if let Some(field) = kind.and_then(Value::as_str).and_then(|kind| of_kind(value, kind)) {
        return Ok(field);
    }
    let kind_of = |name: &str| kind.and_then(|kinds| kinds.get(name));
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::Number(number) => numeral(number),
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(values) => {
            let items = values.iter().enumerate().map(|(at, item)| field(item, kind_of(&at.to_string())));
            AMQPValue::FieldArray(FieldArray::from(items.collect::<Result<Vec<_>, _>>()?))
        }
        Value::Object(object) => {
            let mut table = FieldTable::default();
            for (text, item) in object {
                table.insert(name(text)?, field(item, kind_of(text))?);
            }
            AMQPValue::FieldTable(table)
        }
    })
}

/// Converts a value to a field of this kind; `None` if the value does not fit.
fn of_kind(value: &Value, kind: &str) -> Option<AMQPValue> {
    Some(match kind {
        kind::INT8 => AMQPValue::ShortShortInt(value.as_i64()?.try_into().ok()?),
        kind::UINT8 => AMQPValue::ShortShortUInt(value.as_u64()?.try_into().ok()?),
        kind::INT16 => AMQPValue::ShortInt(value.as_i64()?.try_into().ok()?),
        kind::UINT16 => AMQPValue::ShortUInt(value.as_u64()?.try_into().ok()?),
        kind::INT32 => AMQPValue::LongInt(value.as_i64()?.try_into().ok()?),
        kind::UINT32 => AMQPValue::LongUInt(value.as_u64()?.try_into().ok()?),
        kind::TIMESTAMP => AMQPValue::Timestamp(value.as_u64()?),
        kind::BYTES => AMQPValue::ByteArray(STANDARD.decode(value.as_str()?).ok()?.into()),
        kind::TEXT => AMQPValue::LongString(STANDARD.decode(value.as_str()?).ok()?.into()),
        kind::FLOAT => AMQPValue::Float(exact_float(value.as_f64()?)?),
        _ => return of_kind_with_digits(value, kind),
    })
}

/// Does the same for the kinds that end in digits.
fn of_kind_with_digits(value: &Value, kind: &str) -> Option<AMQPValue> {
    if let Some(scale) = kind.strip_prefix(kind::DECIMAL) {
        return decimal(value.as_f64()?, scale.parse().ok()?).map(AMQPValue::DecimalValue);
    }
    let bits = |prefix: &str| kind.strip_prefix(prefix).filter(|_| value.is_null());
    if let Some(bits) = bits(kind::FLOAT_BITS) {
        return Some(AMQPValue::Float(f32::from_bits(u32::from_str_radix(bits, 16).ok()?)));
    }
    let bits = u64::from_str_radix(bits(kind::DOUBLE_BITS)?, 16).ok()?;
    Some(AMQPValue::Double(f64::from_bits(bits)))
}

/// Returns the float of a number; `None` if a float cannot hold it, because the value was replaced.
#[expect(
    clippy::cast_possible_truncation,
    clippy::float_cmp,
    reason = "whether anything is cut off is the question"
)]
fn exact_float(number: f64) -> Option<f32> {
    let float = number as f32;
    (f64::from(float) == number).then_some(float)
}

fn decimal_number(DecimalValue { scale, value }: DecimalValue) -> f64 {
    f64::from(value) / 10_f64.powi(i32::from(scale))
}

/// Returns the decimal of this scale; `None` if the number has more digits, because the value was replaced.
///
/// A decimal has at most ten digits, and a double distinguishes 15, so rounding finds the original decimal.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "its range is looked at before")]
fn decimal(number: f64, scale: u8) -> Option<DecimalValue> {
    let shifted = (number * 10_f64.powi(i32::from(scale))).round();
    if !(0.0..=f64::from(u32::MAX)).contains(&shifted) {
        return None;
    }
    let decimal = DecimalValue { scale, value: shifted as u32 };
    let apart = (decimal_number(decimal) - number).abs();
    (apart <= number.abs() * 1e-14).then_some(decimal)
}

fn numeral(number: &Number) -> AMQPValue {
    match (number.as_i64(), number.as_f64()) {
        (Some(integer), _) => AMQPValue::LongLongInt(integer),
        (None, Some(float)) if !number.is_u64() => AMQPValue::Double(float),
        // No type of a header holds such a number, so its digits are sent as text.
        _ => AMQPValue::LongString(number.to_string().as_str().into()),
    }
}

/// Converts a name to AMQP, which allows at most 255 bytes.
pub(super) fn short(name: &str) -> Result<ShortString, ConnectorError> {
    ShortString::try_new(name).map_err(|_| {
        let beginning: String = name.chars().take(40).collect();
        let size = name.len();
        ConnectorError::permanent(format!("`{beginning}…` has {size} bytes; a name has at most 255"))
    })
}

/// The limit for the headers of a message: the default size of a frame (128 KiB), less the rest of the frame.
const MOST: usize = 120 * 1024;

/// The limit for the text of an error in a dead letter.
const LONGEST_ERROR: usize = 8 * 1024;

/// Checks that the headers fit in a frame.
///
/// # Errors
/// The size of the headers, and the largest of them.
pub(super) fn check_size(id: &str, headers: &FieldTable) -> Result<(), ConnectorError> {
    let taken = of_table(headers);
    if taken <= MOST {
        return Ok(());
    }
    let largest = headers.into_iter().max_by_key(|(_, value)| of_value(value));
    let largest = largest.map_or_else(String::new, |(name, value)| {
        format!("; the largest is `{}` with {} bytes", name.as_str(), of_value(value))
    });
    let message = format!(
        "transaction `{id}` has {taken} bytes of metadata, more than the {MOST} that a message carries{largest}"
    );
    Err(ConnectorError::permanent(message).with_hint("move long values into the payload"))
}

/// Shortens the text of an error to the limit of a dead letter.
pub(super) fn shortened(error: &str) -> String {
    if error.len() <= LONGEST_ERROR {
        return error.to_owned();
    }
    let end = error.floor_char_boundary(LONGEST_ERROR);
    format!("{}… ({} bytes in all)", error.get(..end).unwrap_or_default(), error.len())
}

/// Returns the size of a table in bytes: four for its length, then the names and values.
fn of_table(table: &FieldTable) -> usize {
    4 + table.into_iter().map(|(name, value)| 1 + name.as_str().len() + of_value(value)).sum::<usize>()
}

/// Returns the size of a value in bytes, by the field table of AMQP 0-9-1: one for its type, then itself.
fn of_value(value: &AMQPValue) -> usize {
    1 + match value {
        AMQPValue::Void => 0,
        AMQPValue::Boolean(_) | AMQPValue::ShortShortInt(_) | AMQPValue::ShortShortUInt(_) => 1,
        AMQPValue::ShortInt(_) | AMQPValue::ShortUInt(_) => 2,
        AMQPValue::LongInt(_) | AMQPValue::LongUInt(_) | AMQPValue::Float(_) => 4,
        AMQPValue::DecimalValue(_) => 5,
        AMQPValue::LongLongInt(_) | AMQPValue::Double(_) | AMQPValue::Timestamp(_) => 8,
        AMQPValue::ShortString(text) => 1 + text.as_str().len(),
        AMQPValue::LongString(text) => 4 + text.as_bytes().len(),
        AMQPValue::ByteArray(bytes) => 4 + bytes.as_slice().len(),
        AMQPValue::FieldArray(values) => 4 + values.as_slice().iter().map(of_value).sum::<usize>(),
        AMQPValue::FieldTable(table) => of_table(table),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_that_was_changed_is_sent_as_what_it_is() {
        let changed = |value: Value, kind: &str| field(&value, Some(&kind.into())).unwrap();
        assert_eq!(changed(json!(7), "int8"), AMQPValue::ShortShortInt(7));
        assert_eq!(changed(json!(300), "int8"), AMQPValue::LongLongInt(300));
        assert_eq!(changed(json!("no base64"), "bytes"), AMQPValue::LongString("no base64".into()));
        assert_eq!(changed(json!(0.123), "decimal:2"), AMQPValue::Double(0.123));
        assert_eq!(changed(json!(0.1), "float"), AMQPValue::Double(0.1));
        assert_eq!(changed(json!(1), "float:7fc00000"), AMQPValue::LongLongInt(1));
        assert_eq!(changed(json!(true), "no such kind"), AMQPValue::Boolean(true));
    }

    #[test]
    fn decimals_are_found_at_the_ends_of_their_range() {
        for scale in [0, 1, 2, 9, 10, 22, 23, 100, 255] {
            for value in [0, 1, 10, 1234, u32::MAX - 1, u32::MAX] {
                let written = DecimalValue { scale, value };
                assert_eq!(decimal(decimal_number(written), scale), Some(written));
            }
        }
    }

    #[test]
    fn a_long_name_in_a_table_is_an_error_and_not_left_out() {
        let long = "n".repeat(256);
        assert_eq!(field(&json!([{ long: 1 }]), None), Err(NameTooLong(256)));
    }

    #[test]
    fn a_long_error_is_cut_between_two_characters() {
        assert_eq!(shortened("short"), "short");
        let cut = shortened(&"ä".repeat(LONGEST_ERROR));
        assert!(cut.len() < LONGEST_ERROR + 40 && cut.ends_with("ä… (16384 bytes in all)"), "{}", cut.len());
    }
}
