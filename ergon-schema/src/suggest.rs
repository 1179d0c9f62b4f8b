//! Suggests a known name for an unknown name ("did you mean"), for errors of the macros, the settings and the command
//! line.

/// Returns the candidate that is closest to an unknown name, if one is close enough.
///
/// Case, `-` and `_` do not matter. A third of the letters may differ, rounded up.
pub fn similar<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // A name of one letter must match.
    closest(name, candidates, |letters| letters.div_ceil(3).min(letters.saturating_sub(1)))
}

/// Returns the candidate that a name misspells, by the stricter rule of rustc: a third of the letters may differ,
/// rounded down. For names that may also be right.
pub fn slip<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    closest(name, candidates, |letters| (letters.max(3) / 3).min(letters.saturating_sub(1)))
}

fn closest<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
    allowed: impl Fn(usize) -> usize,
) -> Option<&'c str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_'], "");
    let wanted = plain(name);
    let distances = candidates.into_iter().map(|candidate| {
        let known = plain(candidate);
        let letters = wanted.chars().count().max(known.chars().count());
        (strsim::damerau_levenshtein(&wanted, &known), allowed(letters), candidate)
    });
    let close = distances.filter(|(distance, allowed, _)| distance <= allowed);
    close.min_by_key(|(distance, ..)| *distance).map(|(.., candidate)| candidate)
}

/// Returns the hint for an unknown name: the closest known name, else all known names.
pub fn hint<'c>(name: &str, known: impl IntoIterator<Item = &'c str> + Clone) -> Option<String> {
    if let Some(similar) = similar(name, known.clone()) {
        return Some(format!("did you mean `{similar}`?"));
    }
    let all: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
    (!all.is_empty()).then(|| format!("there is {}", list(&all, "and")))
}

/// Joins items: `a`, `a and b`, `a, b and c`.
pub fn list(items: &[String], last: &str) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [all @ .., end] => format!("{} {last} {end}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_hand_finds_its_name() {
        let known = ["concurrency", "batch_size", "process"];
        assert_eq!(similar("concurency", known), Some("concurrency"));
        assert_eq!(similar("batch-size", known), Some("batch_size"));
        assert_eq!(similar("porcess", known), Some("process"));
        assert_eq!(similar("colour", known), None);
        assert_eq!(similar("a", ["b"]), None);
    }

    #[test]
    fn an_unlike_name_is_shown_all_there_are() {
        assert_eq!(hint("zebra", ["path", "sheet", "name"]).unwrap(), "there is `path`, `sheet` and `name`");
        assert_eq!(hint("zebra", []), None);
    }

    #[test]
    fn a_name_that_may_be_right_is_a_slip_only_if_it_is_closer() {
        let roles = ["Source", "Sink", "Duplex"];
        assert_eq!(slip("Sorce", roles), Some("Source"));
        assert_eq!((slip("Disk", roles), similar("Disk", roles)), (None, Some("Sink")));
    }
}
