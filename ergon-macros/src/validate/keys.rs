//! The keys of the policies, and what each takes.

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A count of at least 1.
    Count,
    /// A count that may be 0.
    Any,
    /// A count that may be 0, and absent.
    Limit,
    /// A number in a range, both ends included.
    Number(f64, f64),
    Flag,
    Time,
    MaybeTime,
    /// A time that is not nothing.
    TimeLimit,
    /// The same, or `"none"`.
    TimeLimitOrNone,
    /// One of some words: the enum, and its words with their variants.
    OneOf(&'static str, &'static [(&'static str, &'static str)]),
    /// The name of a connector with one of these capabilities.
    Slot(Need),
    EmptyQueue,
    Retry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Source,
    Sink,
}

const MODES: &[(&str, &str)] = &[("continuous", "Continuous"), ("batch", "Batch")];
const ON_FAILURE: &[(&str, &str)] = &[("requeue", "Requeue"), ("reject", "Reject")];

pub(super) const CONSUMER: &[(&str, Kind)] = &[
    ("concurrency", Kind::Count),
    ("batch_size", Kind::Count),
    ("prefetch", Kind::Any),
    ("mode", Kind::OneOf("Mode", MODES)),
    ("streaming", Kind::Flag),
    ("limit", Kind::Limit),
    ("timeout", Kind::TimeLimit),
    ("transaction_timeout", Kind::TimeLimitOrNone),
    ("empty_queue", Kind::EmptyQueue),
    ("fetch", Kind::Retry),
    ("process", Kind::Retry),
    ("success", Kind::Retry),
    ("exception", Kind::Retry),
    ("from", Kind::Slot(Need::Source)),
    ("dead_letter", Kind::Slot(Need::Sink)),
    ("on_handler_failure", Kind::OneOf("OnHandlerFailure", ON_FAILURE)),
    ("max_deliveries", Kind::Count),
    ("shutdown_grace", Kind::Time),
];

pub(super) const PRODUCER: &[(&str, Kind)] = &[
    ("concurrency", Kind::Count),
    ("batch_size", Kind::Count),
    ("limit", Kind::Limit),
    ("timeout", Kind::TimeLimit),
    ("transaction_timeout", Kind::TimeLimitOrNone),
    ("prepare", Kind::Retry),
    ("success", Kind::Retry),
    ("exception", Kind::Retry),
    ("dead_letter", Kind::Slot(Need::Sink)),
    ("on_handler_failure", Kind::OneOf("OnHandlerFailure", ON_FAILURE)),
    ("max_deliveries", Kind::Count),
    ("shutdown_grace", Kind::Time),
];

pub(super) const RETRY: &[(&str, Kind)] = &[
    ("max_attempts", Kind::Count),
    ("timeout", Kind::TimeLimit),
    ("backoff", Kind::Time),
    ("backoff_multiplier", Kind::Number(1.0, f64::MAX)),
    ("backoff_cap", Kind::MaybeTime),
    ("jitter", Kind::Number(0.0, 1.0)),
];

pub(super) const EMPTY_QUEUE: &[(&str, Kind)] = &[
    ("backoff", Kind::Time),
    ("backoff_multiplier", Kind::Number(1.0, f64::MAX)),
    ("backoff_cap", Kind::Time),
];

/// The keys that a step takes.
pub(super) fn retry_keys() -> impl Iterator<Item = &'static str> {
    RETRY.iter().map(|(key, _)| *key)
}

/// Whether it is a key of some policy or of one of its steps.
pub(super) fn is_policy_key(name: &str) -> bool {
    [CONSUMER, PRODUCER, RETRY].into_iter().flatten().any(|(key, _)| *key == name)
}

/// Where a key belongs that is none here.
pub(super) fn elsewhere(name: &str, section: &str) -> Option<String> {
    let has = |keys: &[(&str, Kind)]| keys.iter().any(|(key, _)| *key == name);
    match section {
        "consumer" | "producer" if has(RETRY) => {
            let step = if section == "consumer" { "process" } else { "prepare" };
            Some(format!("it is one of a step: write `{step}({name} = …)`"))
        }
        "consumer" if has(PRODUCER) => Some("it is one of `producer`".to_owned()),
        "producer" if has(CONSUMER) => Some("it is one of `consumer`".to_owned()),
        _ if section != "consumer" && section != "producer" && (has(CONSUMER) || has(PRODUCER)) => {
            Some("it is one of the whole task: write it beside the step".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys in the first column of the table under a heading of the guide.
    fn documented(heading: &str) -> Vec<String> {
        let guide = include_str!("../../../docs/language.md");
        let (_, section) = guide.split_once(heading).unwrap_or_else(|| panic!("no heading {heading}"));
        let rows = section.lines().skip_while(|line| !line.starts_with('|')).skip(2);
        let rows = rows.take_while(|line| line.starts_with('|'));
        rows.map(|row| {
            let cell = row.trim_start_matches("| `");
            cell.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap_or_default().to_owned()
        })
        .collect()
    }

    fn keys(table: &[(&'static str, Kind)]) -> Vec<&'static str> {
        table.iter().map(|(key, _)| *key).collect()
    }

    #[test]
    fn the_guide_has_a_row_for_each_key_and_no_other() {
        assert_eq!(documented("### Keys of `consumer(…)`"), keys(CONSUMER));
        assert_eq!(documented("### Keys of `producer(…)`"), keys(PRODUCER));
        assert_eq!(documented("### Keys of a step"), keys(RETRY));
        assert_eq!(documented("### Keys of `empty_queue(…)`"), keys(EMPTY_QUEUE));
        assert_eq!(documented("### Sections of `#[ergon::task(…)]`"), super::super::task::SECTIONS);
        assert_eq!(documented("## `ergon::main!`")[..], ["settings", "tasks", "tasks", "crate"]);
    }
}
