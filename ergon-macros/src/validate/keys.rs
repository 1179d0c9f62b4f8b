//! Finds the section that a policy key belongs to, for the hint of an error about a misplaced key.

use ergon_schema::{CONSUMER, Key, PRODUCER, RETRY};

/// Returns the names of keys.
pub(super) fn names(keys: &'static [Key]) -> impl Iterator<Item = &'static str> + Clone {
    keys.iter().map(|key| key.name)
}

/// Returns whether a name is a key of a policy or of a step.
pub(super) fn is_policy_key(name: &str) -> bool {
    [CONSUMER, PRODUCER, RETRY].into_iter().any(|keys| Key::find(keys, name).is_some())
}

/// Returns the hint for a key that belongs to another section.
pub(super) fn elsewhere(name: &str, section: &str) -> Option<String> {
    let has = |keys| Key::find(keys, name).is_some();
    match section {
        "consumer" | "producer" if has(RETRY) => {
            let step = if section == "consumer" { "process" } else { "prepare" };
            Some(format!("it belongs to a step: write `{step}({name} = …)`"))
        }
        "consumer" if has(PRODUCER) => Some("it belongs to `producer`".to_owned()),
        "producer" if has(CONSUMER) => Some("it belongs to `consumer`".to_owned()),
        _ if section != "consumer" && section != "producer" && (has(CONSUMER) || has(PRODUCER)) => {
            Some(format!("it belongs to the whole task: write it outside `{section}(…)`"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ergon_schema::EMPTY_QUEUE;

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

    fn keys(table: &'static [Key]) -> Vec<&'static str> {
        names(table).collect()
    }

    #[test]
    fn the_guide_has_a_row_for_each_key_and_no_other() {
        assert_eq!(documented("### Keys of `consumer(…)`"), keys(CONSUMER));
        assert_eq!(documented("### Keys of `producer(…)`"), keys(PRODUCER));
        assert_eq!(documented("### Keys of a step"), keys(RETRY));
        assert_eq!(documented("### Keys of `empty_queue(…)`"), keys(EMPTY_QUEUE));
        assert_eq!(documented("### Sections of `#[ergon::task(…)]`"), super::super::sections::SECTIONS);
        assert_eq!(documented("## `ergon::main!`")[..], ["settings", "tasks", "tasks", "crate"]);
    }
}
