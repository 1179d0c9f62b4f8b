//! One cell: its name and its value.

use std::fmt::Write;

use calamine::{DataRef, ExcelDateTime};
use serde_json::{Number, Value};

use super::DateFormat;

/// Days from Excel's day 0 to the end of the year 9999: what lies beyond is no date.
const LAST_DAY: f64 = 2_958_466.0;
/// Below this, every whole number has an exact `f64`.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A cell that holds an error, or what cannot be a value: what it shows, for the message.
pub(super) struct BadCell(pub(super) String);

/// The value of a cell, typed as in the workbook.
pub(super) fn value(cell: &DataRef<'_>, dates: DateFormat) -> Result<Value, BadCell> {
    Ok(match cell {
        DataRef::Empty => Value::Null,
        DataRef::Int(number) => (*number).into(),
        DataRef::Float(number) => self::number(*number),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
            text.as_str().into()
        }
        DataRef::SharedString(text) => (*text).into(),
        DataRef::Bool(flag) => Value::Bool(*flag),
        DataRef::DateTime(time) if dates == DateFormat::Serial => number(time.as_f64()),
        DataRef::DateTime(time) => iso(*time)?.into(),
        DataRef::Error(error) => return Err(BadCell(error.to_string())),
    })
}

/// Excel knows no integers: a number without a fraction is one.
fn number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < EXACT {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it has no fraction and lies in the range of an i64"
        )]
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

fn iso(time: ExcelDateTime) -> Result<String, BadCell> {
    let serial = time.as_f64();
    if time.is_duration() {
        return Ok(duration(serial));
    }
    if !(0.0..LAST_DAY).contains(&serial) {
        return Err(BadCell(format!("{serial} as a date, which is out of Excel's range")));
    }
    let (year, month, day, hour, minute, second, milli) = time.to_ymd_hms_milli();
    let mut text = String::with_capacity(23);
    // Day 0 is how Excel writes a time of day without a date.
    if serial >= 1.0 {
        push(&mut text, format_args!("{year:04}-{month:02}-{day:02}"));
        if (hour, minute, second, milli) == (0, 0, 0, 0) {
            return Ok(text);
        }
        text.push('T');
    }
    push(&mut text, format_args!("{hour:02}:{minute:02}:{second:02}"));
    if milli > 0 {
        push(&mut text, format_args!(".{milli:03}"));
    }
    Ok(text)
}

fn duration(days: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of a float saturates"
    )]
    let millis = (days.abs() * 86_400_000.0).round() as u64;
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let sign = if days < 0.0 { "-" } else { "" };
    let fraction = if millis > 0 { format!(".{millis:03}") } else { String::new() };
    format!("{sign}PT{hours}H{minutes}M{seconds}{fraction}S")
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = text.write_fmt(what);
}

/// The name of a cell, as Excel shows it: `B2` for column 1 and row 2. Columns count from 0, rows from 1.
pub(super) fn name(column: u32, row: u32) -> String {
    format!("{}{row}", letters(column))
}

fn letters(column: u32) -> String {
    let mut letters = Vec::new();
    let mut rest = column + 1;
    while rest > 0 {
        let letter = u8::try_from((rest - 1) % 26).unwrap_or_default();
        letters.push(char::from(b'A' + letter));
        rest = (rest - 1) / 26;
    }
    letters.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use calamine::ExcelDateTimeType::{DateTime, TimeDelta};

    use super::*;

    #[test]
    fn cells_are_named_as_excel_does() {
        let names = [(0, 1), (25, 2), (26, 3), (701, 4), (702, 5), (16383, 1_048_576)];
        assert_eq!(names.map(|(c, r)| name(c, r)), ["A1", "Z2", "AA3", "ZZ4", "AAA5", "XFD1048576"]);
    }

    #[test]
    fn dates_and_times_become_iso_8601() {
        let shown = |serial, kind| iso(ExcelDateTime::new(serial, kind, false)).ok();
        assert_eq!(shown(42_682.0, DateTime).as_deref(), Some("2016-11-08"));
        assert_eq!(shown(42_682.437_5, DateTime).as_deref(), Some("2016-11-08T10:30:00"));
        assert_eq!(shown(0.437_5, DateTime).as_deref(), Some("10:30:00"));
        assert_eq!(shown(1.520_833_333_333_333_3, TimeDelta).as_deref(), Some("PT36H30M0S"));
        assert_eq!(shown(-1.0, DateTime), None);
        assert_eq!(shown(3e6, DateTime), None);
    }

    #[test]
    fn a_number_without_a_fraction_is_an_integer() {
        assert_eq!(
            [number(3.0), number(-0.5), number(1e300)].map(|n| n.to_string()),
            ["3", "-0.5", "1e+300"]
        );
    }
}
