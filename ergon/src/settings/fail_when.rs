//! Parses the conditions under which a finished run has failed: `rejected > 5%, handler-failures > 0`.

use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::suggest;
use crate::policy::written::{self, Written};

/// The value that switches the conditions of the settings off.
const NONE: &str = "none";
/// The parts of one percent: six digits after the point.
const PARTS: u64 = 1_000_000;
const EXAMPLE: &str = "`rejected > 5%`";

/// Conditions, separated by commas. A run fails if one of them holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailWhen(Vec<Condition>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    /// The condition as written, with normalized spaces.
    text: String,
    figure: Figure,
    comparison: Comparison,
    bound: Bound,
}

/// A figure of the summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    Fetched,
    Processed,
    Succeeded,
    Failed,
    Business,
    System,
    Timeout,
    Rejected,
    DeadLettered,
    Undelivered,
    HandlerFailures,
    Retries,
    Requeued,
    GivenBack,
    Unknown,
    Produced,
    AbandonedThreads,
}

/// All figures by name, and whether each is a part of the processed transactions.
const FIGURES: [(&str, Figure, bool); 17] = [
    ("rejected", Figure::Rejected, true),
    ("failed", Figure::Failed, true),
    ("succeeded", Figure::Succeeded, true),
    ("dead-lettered", Figure::DeadLettered, true),
    ("undelivered", Figure::Undelivered, true),
    ("business", Figure::Business, true),
    ("system", Figure::System, true),
    ("timeout", Figure::Timeout, true),
    ("handler-failures", Figure::HandlerFailures, true),
    ("fetched", Figure::Fetched, false),
    ("processed", Figure::Processed, false),
    ("retries", Figure::Retries, false),
    ("requeued", Figure::Requeued, false),
    ("given-back", Figure::GivenBack, false),
    ("unknown", Figure::Unknown, false),
    ("produced", Figure::Produced, false),
    ("abandoned-threads", Figure::AbandonedThreads, false),
];

/// The comparisons; longer signs come first, because `>` is the start of `>=`.
const COMPARISONS: [(&str, Comparison); 7] = [
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    ("!=", Comparison::Not),
    ("==", Comparison::Equal),
    (">", Comparison::Above),
    ("<", Comparison::Below),
    ("=", Comparison::Equal),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
    Equal,
    Not,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Count(u64),
    /// A percentage of the processed transactions, in [`PARTS`] of one percent.
    Share(u64),
}

/// A condition that holds, with its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breach {
    /// `rejected > 5%`
    pub(crate) condition: String,
    pub(crate) count: u64,
    pub(crate) processed: u64,
    /// Whether the condition is about a share of the processed transactions.
    pub(crate) is_share: bool,
}

impl FailWhen {
    /// The conditions that hold. If nothing was processed, no condition about a share holds.
    pub(crate) fn breaches(&self, figure: impl Fn(Figure) -> u64) -> Vec<Breach> {
        let processed = figure(Figure::Processed);
        let holding = self.0.iter().filter(|condition| condition.holds(figure(condition.figure), processed));
        let breach = |condition: &Condition| Breach {
            condition: condition.text.clone(),
            count: figure(condition.figure),
            processed,
            is_share: matches!(condition.bound, Bound::Share(_)),
        };
        holding.map(breach).collect()
    }
}

impl Condition {
    fn holds(&self, count: u64, processed: u64) -> bool {
        match self.bound {
            Bound::Count(bound) => self.comparison.holds(u128::from(count), u128::from(bound)),
            Bound::Share(_) if processed == 0 => false,
            Bound::Share(parts) => {
                let whole = u128::from(count) * 100 * u128::from(PARTS);
                self.comparison.holds(whole, u128::from(parts) * u128::from(processed))
            }
        }
    }

    /// Whether it always holds, or never; none if it depends on the run.
    fn is_certain(&self) -> Option<bool> {
        let most = match self.bound {
            Bound::Count(_) => u64::MAX,
            Bound::Share(_) => 100 * PARTS,
        };
        let (Bound::Count(bound) | Bound::Share(bound)) = self.bound;
        match self.comparison {
            Comparison::AtLeast if bound == 0 => Some(true),
            Comparison::AtMost if bound >= most => Some(true),
            Comparison::Below if bound == 0 => Some(false),
            Comparison::Above if bound >= most => Some(false),
            _ => None,
        }
    }
}

impl Comparison {
    fn holds(self, count: u128, bound: u128) -> bool {
        match self {
            Self::Above => count > bound,
            Self::AtLeast => count >= bound,
            Self::Below => count < bound,
            Self::AtMost => count <= bound,
            Self::Equal => count == bound,
            Self::Not => count != bound,
        }
    }
}

impl FromStr for FailWhen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == NONE {
            return Ok(Self(Vec::new()));
        }
        text.split(',').map(condition).collect::<Result<_, _>>().map(Self)
    }
}

/// Parses one condition: a figure, a comparison, and a number or a percentage.
fn condition(text: &str) -> Result<Condition, String> {
    let text = text.trim();
    let name_end = text.find(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_')).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    if name.is_empty() {
        return Err(format!("expected a condition such as {EXAMPLE}, found `{text}`"));
    }
    let (name, figure, is_part) = figure(name)?;
    let rest = rest.trim_start();
    let comparison = COMPARISONS.iter().find_map(|(sign, to)| Some((*sign, *to, rest.strip_prefix(sign)?)));
    let Some((sign, comparison, rest)) = comparison else {
        let found = if rest.is_empty() { "nothing".to_owned() } else { format!("`{rest}`") };
        return Err(format!(
            "expected `>`, `>=`, `<`, `<=`, `=` or `!=` after `{name}`, as in {EXAMPLE}, found {found}"
        ));
    };
    let rest = rest.trim();
    let bound = bound(rest, &format!("{name} {sign}"))?;
    if matches!(bound, Bound::Share(_)) && !is_part {
        let what = "is not a part of the processed transactions: compare it with a number";
        return Err(format!("`{name}` {what}"));
    }
    let condition = Condition { text: format!("{name} {sign} {rest}"), figure, comparison, bound };
    match condition.is_certain() {
        Some(holds) => {
            let runs = if holds { "every run would fail" } else { "no run would fail" };
            Err(format!("`{}`: {runs} by this condition", condition.text))
        }
        None => Ok(condition),
    }
}

fn figure(written: &str) -> Result<(&'static str, Figure, bool), String> {
    let plain = written.to_lowercase().replace('_', "-");
    FIGURES.into_iter().find(|(name, ..)| *name == plain).ok_or_else(|| {
        let known = FIGURES.iter().map(|(name, ..)| *name);
        let hint = match plain.as_str() {
            // A usual word for the same count, too far from its name to be found by its letters.
            "refused" => "did you mean `rejected`?".to_owned(),
            _ => suggest::hint(written, known).unwrap_or_default(),
        };
        format!("there is no figure `{written}`; {hint}")
    })
}

/// Parses `12` or `2.5%`.
fn bound(text: &str, after: &str) -> Result<Bound, String> {
    let wrong = || {
        let found = if text.is_empty() { "nothing".to_owned() } else { format!("`{text}`") };
        format!("expected a whole number or a percentage such as `2.5%` after `{after}`, found {found}")
    };
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        if is_number { digits.parse::<u64>().ok() } else { None }
    };
    let Some(percentage) = text.strip_suffix('%') else {
        return number(text).map(Bound::Count).ok_or_else(wrong);
    };
    let percentage = percentage.trim_end();
    let (whole, fraction) = percentage.split_once('.').unwrap_or((percentage, "0"));
    let (whole, digits) = (number(whole).ok_or_else(wrong)?, fraction.len());
    let fraction = number(fraction).filter(|_| digits <= 6).ok_or_else(wrong)?;
    // At most six digits, so nothing overflows.
    let fraction = fraction * 10_u64.pow(u32::try_from(6 - digits).unwrap_or_default());
    let parts = whole.checked_mul(PARTS).and_then(|parts| parts.checked_add(fraction));
    match parts.filter(|parts| *parts <= 100 * PARTS) {
        Some(parts) => Ok(Bound::Share(parts)),
        None => Err(format!("`{text}` is more than 100%")),
    }
}

impl<'de> Deserialize<'de> for FailWhen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        written::deserialize(deserializer)
    }
}

impl Written for FailWhen {
    const EXPECTED: &'static str = "conditions such as \"rejected > 5%\" or \"rejected > 5%, unknown > 0\"";

    fn read(text: &str) -> Result<Self, Option<String>> {
        text.parse().map_err(Some)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<FailWhen, String> {
        text.parse()
    }

    /// The conditions that hold where so many of what was processed have this figure, and any other is 0.
    fn holding(text: &str, figure: Figure, count: u64, processed: u64) -> Vec<String> {
        let of = |asked| match asked {
            Figure::Processed => processed,
            asked if asked == figure => count,
            _ => 0,
        };
        parsed(text).unwrap().breaches(of).into_iter().map(|breach| breach.condition).collect()
    }

    #[test]
    fn a_share_is_compared_exactly() {
        let rejected =
            |condition, count, processed| !holding(condition, Figure::Rejected, count, processed).is_empty();
        assert!(!rejected("rejected > 5%", 5, 100) && rejected("rejected > 5%", 6, 100));
        assert!(rejected("rejected >= 5%", 5, 100) && rejected("rejected=5%", 5, 100));
        assert!(!rejected("rejected > 0.1%", 1, 1000) && rejected("rejected > 0.1%", 2, 1000));
        assert!(!rejected("rejected > 33.333333%", 33_333_333, 100_000_000));
        assert!(rejected("rejected > 33.333333%", 1, 3), "a third is more");
        assert!(rejected("rejected > 0%", 1, u64::MAX));
        let most = u64::MAX - 1;
        assert!(rejected("rejected < 100%", most, u64::MAX) && !rejected("rejected < 100%", most, most));
        assert!(!rejected("rejected > 0%", 0, 0) && !rejected("rejected < 5%", 0, 0), "a share of nothing");
    }

    #[test]
    fn each_condition_that_holds_is_named_and_written_plainly() {
        let conditions = "  rejected>2 , Handler_Failures >= 1,processed<20,succeeded != 0";
        assert_eq!(holding(conditions, Figure::Rejected, 3, 10), ["rejected > 2", "processed < 20"],);
        assert_eq!(holding(conditions, Figure::HandlerFailures, 1, 20), ["handler-failures >= 1"]);
        assert_eq!(parsed("none"), Ok(FailWhen(Vec::new())));
    }

    #[test]
    fn what_is_wrong_says_what_was_expected() {
        for (text, message) in [
            ("", "expected a condition such as `rejected > 5%`, found ``"),
            ("> 5", "expected a condition such as `rejected > 5%`, found `> 5`"),
            ("rejected > 5%,", "expected a condition such as `rejected > 5%`, found ``"),
            ("rejectd > 5%", "there is no figure `rejectd`; did you mean `rejected`?"),
            ("refused > 5%", "there is no figure `refused`; did you mean `rejected`?"),
            ("dead_letered > 5", "there is no figure `dead_letered`; did you mean `dead-lettered`?"),
            (
                "rejected",
                "expected `>`, `>=`, `<`, `<=`, `=` or `!=` after `rejected`, as in `rejected > 5%`, found nothing",
            ),
            (
                "rejected ~ 5",
                "expected `>`, `>=`, `<`, `<=`, `=` or `!=` after `rejected`, as in `rejected > 5%`, found `~ 5`",
            ),
            (
                "rejected > ",
                "expected a whole number or a percentage such as `2.5%` after `rejected >`, found nothing",
            ),
            (
                "rejected > -1",
                "expected a whole number or a percentage such as `2.5%` after `rejected >`, found `-1`",
            ),
            (
                "rejected > 2.5",
                "expected a whole number or a percentage such as `2.5%` after `rejected >`, found `2.5`",
            ),
            (
                "rejected > 5 %%",
                "expected a whole number or a percentage such as `2.5%` after `rejected >`, found `5 %%`",
            ),
            (
                "rejected > 1.%",
                "expected a whole number or a percentage such as `2.5%` after `rejected >`, found `1.%`",
            ),
            (
                "rejected > 5% or failed > 1",
                "expected a whole number or a percentage such as `2.5%` after `rejected >`, found `5% or failed > 1`",
            ),
            (
                "rejected => 5",
                "expected a whole number or a percentage such as `2.5%` after `rejected =`, found `> 5`",
            ),
            ("rejected > 101%", "`101%` is more than 100%"),
            (
                "rejected > 99999999999999999999%",
                "expected a whole number or a percentage such as `2.5%` after `rejected >`, found `99999999999999999999%`",
            ),
            ("rejected > 100%", "`rejected > 100%`: no run would fail by this condition"),
            ("rejected >= 0", "`rejected >= 0`: every run would fail by this condition"),
            ("rejected < 0", "`rejected < 0`: no run would fail by this condition"),
            (
                "retries > 5%",
                "`retries` is not a part of the processed transactions: compare it with a number",
            ),
        ] {
            assert_eq!(parsed(text), Err(message.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn all_signs_mean_what_they_say() {
        for (sign, holds) in [
            (">", [false, false, true]),
            (">=", [false, true, true]),
            ("<", [true, false, false]),
            ("<=", [true, true, false]),
            ("=", [false, true, false]),
            ("==", [false, true, false]),
            ("!=", [true, false, true]),
        ] {
            let of = |count| !holding(&format!("rejected {sign} 5"), Figure::Rejected, count, 10).is_empty();
            assert_eq!([4, 5, 6].map(of), holds, "{sign}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_written_panics(text in ".{0,40}") {
            let _ = parsed(&text);
        }
    }
}
