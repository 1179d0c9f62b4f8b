//! Finds numbers whose digits a 64-bit float would lose, so that such a number is an error instead of a silent change.

/// A decimal of at most this many digits always returns from a float as it was.
const ALWAYS_KEPT: usize = 15;
/// This many digits print a float so that no other float has the same print.
const PRINTED: usize = 17;
/// A run of fewer digits and points cannot lose a digit. So the search looks only at every byte whose position is a
/// multiple of this number.
const STRIDE: usize = ALWAYS_KEPT + 1;

/// Returns whether a value keeps the digits of a number, in the form in which JSON writes it.
///
/// A value keeps an integer of 64 bits. It keeps a float of at most 17 digits if a program prints some float with these
/// digits, because the value has that float. It keeps any other number if its own print of the number has the same
/// digits.
pub(crate) fn keeps(number: &str) -> bool {
    let Some(sent) = Decimal::of(number) else { return true };
    if sent.digits.len() <= ALWAYS_KEPT {
        return true;
    }
    let whole = !number.contains(['.', 'e', 'E']);
    if whole && (number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok()) {
        return true;
    }
    let Ok(float) = number.parse::<f64>() else { return true };
    // The reader itself refuses a number beyond the range of a float.
    if !float.is_finite() {
        return true;
    }
    let is = |printed: String| Decimal::of(&printed).is_some_and(|printed| printed == sent);
    let printed_so =
        !whole && sent.digits.len() <= PRINTED && is(format!("{:.*e}", sent.digits.len() - 1, float));
    printed_so || is(format!("{float:e}"))
}

/// Returns whether no number in a JSON text can lose a digit. False may also mean that a string looks like such a
/// number.
pub(crate) fn all_kept(json: &[u8]) -> bool {
    let mut at = STRIDE - 1;
    while let Some(byte) = json.get(at) {
        if !is_part(*byte) {
            at += STRIDE;
            continue;
        }
        let before = json.get(..at).unwrap_or_default();
        let begins = before.iter().rposition(|byte| !is_part(*byte)).map_or(0, |last| last + 1);
        let after = json.get(at..).unwrap_or_default();
        let ends = at + after.iter().position(|byte| !is_part(*byte)).unwrap_or(after.len());
        if ends - begins >= STRIDE && number_around(json, begins, ends).is_some_and(|number| !keeps(number)) {
            return false;
        }
        at = ends + STRIDE;
    }
    true
}

/// Returns the number with these digits, with its sign and exponent. `None` at a place where JSON has no number. Such
/// places are common, because ids of many digits are often strings.
fn number_around(json: &[u8], begins: usize, ends: usize) -> Option<&str> {
    let begins = begins - usize::from(json.get(..begins).is_some_and(|before| before.ends_with(b"-")));
    let after = json.get(ends..).unwrap_or_default();
    let more = match after {
        [b'e' | b'E', b'+' | b'-', rest @ ..] => 2 + digits_of(rest),
        [b'e' | b'E', rest @ ..] => 1 + digits_of(rest),
        _ => 0,
    };
    let ends = ends + more;
    let is_space = u8::is_ascii_whitespace;
    let before = begins.checked_sub(1).and_then(|before| json.get(before));
    let stands = before.is_none_or(|byte| is_space(byte) || matches!(byte, b'[' | b':' | b','))
        && json.get(ends).is_none_or(|byte| is_space(byte) || matches!(byte, b']' | b'}' | b','));
    json.get(begins..ends).filter(|_| stands).and_then(|number| std::str::from_utf8(number).ok())
}

fn digits_of(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'.'
}

/// A decimal number in the form that is equal for equal numbers: digits without zeros around them, and a power of ten.
#[derive(PartialEq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    /// Parses a number; `None` if the text is not a number.
    fn of(number: &str) -> Option<Self> {
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> =
            whole.bytes().chain(part.bytes()).skip_while(|byte| *byte == b'0').collect();
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let farthest = if exponent.starts_with('-') { i64::MIN } else { i64::MAX };
        let mut exponent =
            exponent.parse::<i64>().unwrap_or(farthest).saturating_sub_unsigned(part.len() as u64);
        while digits.pop_if(|last| *last == b'0').is_some() {
            exponent = exponent.saturating_add(1);
        }
        Some(Self { negative, digits, exponent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_looked_at_wherever_it_begins() {
        for before in 0..40 {
            for (number, kept) in
                [("18446744073709551616", false), ("0.123456789012345678", false), ("3.14", true)]
            {
                let json = format!("{}{number}]", "[".repeat(before));
                assert_eq!(all_kept(json.as_bytes()), kept, "{json}");
            }
        }
        assert!(all_kept(b"1234567890123456") && !all_kept(b"-1.234567890123456789e-7"));
        assert!(all_kept(br#"{"iccid": "89014103211118510720", "oid": "1.3.6.1.4.1.311.21.20"}"#));
    }

    #[test]
    fn a_number_of_very_many_digits_is_no_burden() {
        let long = format!("0.{}", "1234567890".repeat(1 << 17));
        assert!(!keeps(&long));
        assert!(keeps(&format!("1{}", "0".repeat(300))));
    }

    #[test]
    fn an_exponent_beyond_all_range_is_no_burden() {
        assert!(keeps("1234567890123456789e99999999999999999999"), "the reader itself refuses it");
        for number in
            ["1234567890123456789e-99999999999999999999", "1234567890123456789e-9223372036854775808"]
        {
            assert!(!keeps(number), "it would become zero: {number}");
        }
    }
}
