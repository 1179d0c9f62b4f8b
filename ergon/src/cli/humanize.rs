//! Formats numbers and times for people.

use std::time::Duration;

/// A whole number with separators: `9,994`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share in percent, cut off after two digits: `8.56%`. It is not rounded, so that a share below a bound never looks
/// as if it reached the bound.
pub(crate) fn share(part: u64, whole: u64) -> String {
    let hundredths = u128::from(part) * 10_000 / u128::from(whole.max(1));
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

/// The number per second.
pub(crate) fn rate(number: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "only shown to people")]
    per_second(if seconds > 0.0 { number as f64 / seconds } else { 0.0 })
}

/// A rate: `4,759/s`, `1.5/s`.
pub(crate) fn per_second(rate: f64) -> String {
    if rate <= 0.0 {
        return "0/s".to_owned();
    }
    if rate < 10.0 {
        return format!("{rate:.1}/s");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and it saturates")]
    let whole = rate.round() as u64;
    format!("{}/s", count(whole))
}

/// A time in three digits: `870ns`, `12.3us`, `1.25ms`, `2.10s`, `3m 05s`.
pub(crate) fn time(elapsed: Duration) -> String {
    let nanos = elapsed.as_nanos();
    if nanos < 1_000 {
        return format!("{nanos}ns");
    }
    let seconds = elapsed.as_secs_f64();
    if seconds >= 59.95 {
        let (minutes, rest) = (elapsed.as_secs() / 60, elapsed.as_secs() % 60);
        return match minutes / 60 {
            0 => format!("{minutes}m {rest:02}s"),
            hours => format!("{hours}h {:02}m", minutes % 60),
        };
    }
    let (value, unit) = match nanos {
        0..999_500 => (seconds * 1e6, "us"),
        999_500..999_500_000 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$}{unit}")
}

/// A text on one line, without control characters, so that no external text controls the terminal.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A text on its own lines, without other control characters. All lines except the first are indented, so that no external
/// line looks like a line of this program.
pub(crate) fn set_in(text: &str) -> String {
    text.trim_end().lines().map(one_line).collect::<Vec<_>>().join("\n   ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_others_steers_no_terminal_and_is_no_line_of_ours() {
        let text = "no\u{1b}]0;x\u{7}\nerror: fake\n";
        assert_eq!(one_line(text), "no ]0;x  error: fake ");
        assert_eq!(set_in(text), "no ]0;x \n   error: fake");
    }

    #[test]
    fn counts_have_separators() {
        let counts = [0, 999, 9_994, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "9,994", "1,234,567"]);
    }

    #[test]
    fn times_have_three_digits() {
        let shown = [0, 870, 12_345, 999_700, 1_250_000, 2_100_000_000, 59_960_000_000, 185_000_000_000]
            .map(|nanos| time(Duration::from_nanos(nanos)));
        assert_eq!(shown, ["0ns", "870ns", "12.3us", "1.00ms", "1.25ms", "2.10s", "0m 59s", "3m 05s"]);
    }

    #[test]
    fn slow_rates_show_a_fraction() {
        assert_eq!(rate(3, Duration::from_secs(2)), "1.5/s");
        assert_eq!(rate(9_994, Duration::from_secs(2)), "4,997/s");
        assert_eq!(rate(1, Duration::ZERO), "0/s");
    }
}
