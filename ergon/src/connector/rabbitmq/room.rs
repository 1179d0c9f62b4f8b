//! How much room the headers of a message take: all of them stand in one frame, and a larger one ends the connection.

use lapin::types::{AMQPValue, FieldTable};

use crate::connector::ConnectorError;

/// The most that headers may take: what a frame of a broker holds by default (128 KiB), less what else stands there.
const MOST: usize = 120 * 1024;

/// The most of an error's text that a dead letter carries.
const LONGEST_ERROR: usize = 8 * 1024;

/// Refuses headers that no frame holds.
///
/// # Errors
/// How large they are, and which is the largest.
pub(super) fn check(id: &str, headers: &FieldTable) -> Result<(), ConnectorError> {
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
    Err(ConnectorError::permanent(message).with_hint("put what is long into the payload"))
}

/// The text of an error, as much of it as a dead letter carries.
pub(super) fn shortened(error: &str) -> String {
    if error.len() <= LONGEST_ERROR {
        return error.to_owned();
    }
    let end = error.floor_char_boundary(LONGEST_ERROR);
    format!("{}… ({} bytes in all)", error.get(..end).unwrap_or_default(), error.len())
}

/// The bytes of a table: four for its length, then the names and values.
fn of_table(table: &FieldTable) -> usize {
    4 + table.into_iter().map(|(name, value)| 1 + name.as_str().len() + of_value(value)).sum::<usize>()
}

/// The bytes of a value, after the field table of AMQP 0-9-1: one for its type, then itself.
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
    use super::*;

    #[test]
    fn a_long_error_is_cut_between_two_characters() {
        assert_eq!(shortened("short"), "short");
        let cut = shortened(&"ä".repeat(LONGEST_ERROR));
        assert!(cut.len() < LONGEST_ERROR + 40 && cut.ends_with("ä… (16384 bytes in all)"), "{}", cut.len());
    }
}
