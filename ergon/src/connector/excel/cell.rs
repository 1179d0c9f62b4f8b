//! Makes the value of a cell from its number, text or date, and its name as Excel shows it.

use std::fmt::Write;

use calamine::{DataRef, ExcelDateTime, XlsxError};
use serde_json::{Number, Value};

use super::DateFormat;
use super::scan::{Facts, Kind};
use crate::transaction::json::keeps;

/// The days from day 0 of the calendar of 1900 to the end of the year 9999. A greater number is not a date.
const LAST_DAY: f64 = 2_958_466.0;
/// Day 0 of the calendar of 1904 is this day of the calendar of 1900.
const BETWEEN_SYSTEMS: f64 = 1462.0;
/// The day 1900-02-29, which does not exist. Lotus took 1900 for a leap year, and Excel kept the day.
const NO_DAY: f64 = 60.0;
/// Below this, every whole number has an exact `f64`.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A cell without a usable value.
#[derive(Debug, PartialEq)]
pub(super) struct BadCell {
    /// The content of the cell, for the message: `cell B2 of sheet … holds …`.
    pub(super) holds: String,
    /// The value that the delivery keeps.
    pub(super) kept: Value,
}

impl BadCell {
    /// Makes the error of a cell that shows a text instead of a value.
    fn shows(text: &str, why: &str) -> Self {
        Self { holds: format!("{text}{why}"), kept: text.into() }
    }
}

/// The conversion of a workbook's dates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dates {
    pub(super) format: DateFormat,
    /// Whether days are counted from 1904-01-01 instead of the day before 1900-01-01.
    pub(super) from_1904: bool,
}

/// Returns the value of a cell, typed as in the workbook, from the library's value and the facts of the file.
/// `is_time` returns whether the format of the cell shows a time without a date.
pub(super) fn value(
    cell: &DataRef<'_>,
    facts: &Facts,
    dates: Dates,
    is_time: impl FnOnce() -> bool,
) -> Result<Value, BadCell> {
    match cell {
        DataRef::Empty => empty(facts),
        DataRef::Int(number) => Ok((*number).into()),
        DataRef::Float(float) => number(*float, &facts.value),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
            Ok(text.as_str().into())
        }
        DataRef::SharedString(text) => Ok((*text).into()),
        DataRef::Bool(flag) => Ok(Value::Bool(*flag)),
        DataRef::DateTime(time) if dates.format == DateFormat::Serial => number(time.as_f64(), &facts.value),
        DataRef::DateTime(time) => iso(*time, dates.from_1904, is_time).map(Value::from),
        DataRef::Error(error) => Err(BadCell::shows(&error.to_string(), "")),
    }
}

/// Makes a bad cell of an error after which the library can continue. Any other error is returned.
pub(super) fn unread(error: XlsxError, facts: &Facts) -> Result<BadCell, XlsxError> {
    let text = &facts.value;
    match error {
        XlsxError::CellError(error) => Ok(BadCell::shows(&error, "")),
        XlsxError::CellTAttribute(kind) => {
            Ok(BadCell::shows(text, &format!(", a value of a type that is not known (`{kind}`)")))
        }
        XlsxError::ParseFloat(_) => Ok(BadCell::shows(text, ", expected a number")),
        XlsxError::Unrecognized { typ: "boolean cell value", .. } => {
            Ok(BadCell::shows(text, ", expected a flag"))
        }
        XlsxError::Unexpected(why) if why.starts_with("Cell string index") => {
            Ok(BadCell::shows(text, ", the number of a text that the workbook does not have"))
        }
        XlsxError::UnexpectedNode(_) => Ok(BadCell::shows(text, ", and a part that is not known")),
        other => Err(other),
    }
}

fn empty(facts: &Facts) -> Result<Value, BadCell> {
    match facts.value.as_str() {
        // A formula with an empty text as result has the type of a text. A program that does not calculate leaves the
        // type out.
        "" if facts.has_formula && facts.kind != Kind::FormulaText => {
            let formula = format!("={}", facts.formula);
            let holds =
                "a formula without a stored result (open the workbook in a spreadsheet program and save it)";
            Err(BadCell { holds: holds.to_owned(), kept: formula.into() })
        }
        "" => Ok(Value::Null),
        _ if facts.kind == Kind::Other => Ok(Value::Null),
        text => Err(BadCell::shows(text, ", which cannot be read")),
    }
}

/// Makes a number. Excel has no integers, so a number without a fraction becomes an integer. A 64-bit integer keeps its
/// digits, even if Excel would round it.
fn number(float: f64, text: &str) -> Result<Value, BadCell> {
    if float.is_finite() && !keeps(text) {
        return Err(BadCell::shows(text, ", more digits than a number keeps (store it as text)"));
    }
    if float.fract() == 0.0 && float.abs() < EXACT && !(float == 0.0 && float.is_sign_negative()) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it has no fraction and lies in the range of an i64"
        )]
        return Ok(Value::from(float as i64));
    }
    if let Some(whole) =
        text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from)).ok()
        && float != 0.0
    {
        return Ok(whole);
    }
    Number::from_f64(float)
        .map(Value::Number)
        .ok_or_else(|| BadCell::shows(text, ", a number that is not finite"))
}

fn iso(time: ExcelDateTime, from_1904: bool, is_time: impl FnOnce() -> bool) -> Result<String, BadCell> {
    let serial = time.as_f64();
    if time.is_duration() && serial.is_finite() {
        return Ok(duration(serial));
    }
    let last = if from_1904 { LAST_DAY - BETWEEN_SYSTEMS } else { LAST_DAY };
    if !(0.0..last).contains(&serial) {
        return Err(BadCell::shows(&serial.to_string(), " as a date, which is out of Excel's range"));
    }
    if !from_1904 && serial.floor() == NO_DAY {
        return Err(BadCell::shows(&serial.to_string(), " as a date, which is 1900-02-29 and no day"));
    }
    let (year, month, day, hour, minute, second, milli) = time.to_ymd_hms_milli();
    let mut text = String::with_capacity(23);
    // Excel writes a time of day without a date as day 0. In the calendar of 1904 day 0 is also a date, so the format
    // decides.
    if serial >= 1.0 || (from_1904 && !is_time()) {
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

/// Returns whether a number format shows a time and no date: hours or seconds, and neither days nor years.
pub(super) fn shows_time_only(format: &str) -> bool {
    let (mut quoted, mut bracketed, mut escaped, mut has_time) = (false, false, false, false);
    for character in format.chars() {
        match character {
            _ if escaped => escaped = false,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '\\' | '_' | '*' => escaped = true,
            '[' => bracketed = true,
            ']' => bracketed = false,
            _ if bracketed => {}
            'd' | 'D' | 'y' | 'Y' => return false,
            'h' | 'H' | 's' | 'S' => has_time = true,
            _ => {}
        }
    }
    has_time
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

/// Returns the name of a cell as Excel shows it: `B2` for column 1 and row 2. Columns count from 0, rows from 1.
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
        let shown = |serial, kind| iso(ExcelDateTime::new(serial, kind, false), false, || false).ok();
        assert_eq!(shown(42_682.0, DateTime).as_deref(), Some("2016-11-08"));
        assert_eq!(shown(42_682.437_5, DateTime).as_deref(), Some("2016-11-08T10:30:00"));
        assert_eq!(shown(0.437_5, DateTime).as_deref(), Some("10:30:00"));
        assert_eq!(shown(1.520_833_333_333_333_3, TimeDelta).as_deref(), Some("PT36H30M0S"));
        assert_eq!(shown(-1.0, DateTime), None);
        assert_eq!(shown(3e6, DateTime), None);
        assert_eq!(shown(f64::NAN, DateTime), None);
        assert_eq!(shown(f64::INFINITY, TimeDelta), None);
        assert_eq!(
            [1.0, 59.0, 60.0, 61.0].map(|serial| shown(serial, DateTime)),
            [
                Some("1900-01-01".to_owned()),
                Some("1900-02-28".to_owned()),
                None,
                Some("1900-03-01".to_owned())
            ]
        );
    }

    #[test]
    fn days_are_counted_from_1904_too() {
        let shown = |serial, is_time| iso(ExcelDateTime::new(serial, DateTime, true), true, || is_time).ok();
        assert_eq!(shown(0.0, false).as_deref(), Some("1904-01-01"));
        assert_eq!(shown(0.5, false).as_deref(), Some("1904-01-01T12:00:00"));
        assert_eq!(shown(0.5, true).as_deref(), Some("12:00:00"));
        assert_eq!(shown(1.0, false).as_deref(), Some("1904-01-02"));
        assert_eq!(shown(2_957_003.0, false).as_deref(), Some("9999-12-31"));
        assert_eq!(shown(2_957_004.0, false), None);
    }

    #[test]
    fn a_format_of_a_time_has_no_date() {
        for format in ["h:mm", "hh:mm:ss", "h:mm AM/PM", "mm:ss", "mmss.0", "[$-409]h:mm:ss", "h \"day\" mm"]
        {
            assert!(shows_time_only(format), "{format}");
        }
        for format in ["yyyy-mm-dd", "m/d/yy h:mm", "mmm", "General", "d", "YYYY\\ hh", "\"h\""] {
            assert!(!shows_time_only(format), "{format}");
        }
    }

    #[test]
    fn a_number_without_a_fraction_is_an_integer() {
        let shown = |text: &str| number(text.parse().unwrap(), text).map(|number| number.to_string());
        for (text, expected) in [
            ("3", "3"),
            ("3.0", "3"),
            ("-0.5", "-0.5"),
            ("-0", "-0.0"),
            ("1e300", "1e+300"),
            ("505.10739999999998", "505.1074"),
            ("9007199254740993", "9007199254740993"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected));
        }
        for text in ["18446744073709551616", "0.12345678901234567891", "NaN", "inf", "1e400"] {
            assert!(shown(text).unwrap_err().holds.starts_with(&format!("{text}, ")), "{text}");
        }
    }
}
