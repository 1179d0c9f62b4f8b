//! Values for tests that iterate over the schema: for each kind of key, a valid value and values that break a rule.

use crate::{Key, Kind, SlotUse};

/// A key with the keys above it, and a value of its kind.
#[derive(Debug, Clone)]
pub struct Sample {
    /// With dots: `process.max_attempts`.
    pub path: String,
    /// The key itself.
    pub key: &'static Key,
    /// A value that differs from the default, as in TOML.
    pub value: String,
    /// Values that break a rule, as in TOML, each with its rule.
    pub refused: Vec<(&'static str, &'static str)>,
}

/// Returns a sample for each key; the keys of steps and groups stand for their step or group.
pub fn samples(keys: &'static [Key]) -> Vec<Sample> {
    let of_key = |key: &'static Key| {
        let inner = match key.kind {
            Kind::Step => samples(crate::RETRY),
            Kind::Group { keys, .. } => samples(keys),
            kind => {
                let path = key.name.to_owned();
                return vec![Sample { path, key, value: value(kind), refused: refused(kind) }];
            }
        };
        let within = |sample: Sample| Sample { path: format!("{}.{}", key.name, sample.path), ..sample };
        inner.into_iter().map(within).collect()
    };
    keys.iter().flat_map(of_key).collect()
}

fn value(kind: Kind) -> String {
    match kind {
        Kind::Number { most, .. } if most.is_finite() => "0.5".to_owned(),
        Kind::Number { .. } => "1.5".to_owned(),
        Kind::Flag => "true".to_owned(),
        Kind::Time { .. } | Kind::Limit { .. } => "\"3s\"".to_owned(),
        Kind::Word { words, .. } => {
            format!("\"{}\"", words.last().map(|word| word.word).unwrap_or_default())
        }
        Kind::Slot(SlotUse::Source) => "\"other\"".to_owned(),
        Kind::Slot(SlotUse::Sink) => "\"dlq\"".to_owned(),
        Kind::Count { .. } | Kind::Step | Kind::Group { .. } => "7".to_owned(),
    }
}

fn refused(kind: Kind) -> Vec<(&'static str, &'static str)> {
    match kind {
        Kind::Count { least, most, .. } => {
            // A count without an upper bound has no greater value to test, because its bound is that of its type.
            let below = least.map(|least| ("0", least.rule));
            let above = most.filter(|most| most.value == 100_000).map(|most| ("100001", most.rule));
            below.into_iter().chain(above).collect()
        }
        Kind::Number { rule, most, .. } if most.is_finite() => vec![("-0.5", rule), ("1.5", rule)],
        Kind::Number { rule, .. } => vec![("0.5", rule)],
        Kind::Time { positive: Some(rule), .. } => vec![("\"0s\"", rule)],
        Kind::Limit { .. } => vec![("\"0s\"", crate::NO_TIME)],
        _ => Vec::new(),
    }
}
