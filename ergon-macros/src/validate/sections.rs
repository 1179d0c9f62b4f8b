//! Finds the sections of `#[ergon::task(…)]` by name, also if a name is misspelt.

use ergon_schema::suggest::slip;

use crate::parse::Entry;

/// The sections of the attribute.
pub(crate) const SECTIONS: [&str; 9] =
    ["name", "connectors", "services", "consumer", "producer", "workers", "blocking", "execute", "crate"];

/// Returns the section of this name, or the section that misspells it, so that the misspelt name is the only mistake.
pub(super) fn section<'a>(entries: &'a [Entry], name: &str) -> Option<&'a Entry> {
    let is_slip = |entry: &&Entry| slip(&entry.key.to_string(), SECTIONS) == Some(name);
    entries.iter().find(|entry| entry.key == name).or_else(|| entries.iter().find(is_slip))
}
