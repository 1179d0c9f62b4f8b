//! "Did you mean": the known name that is closest to one that is not known.

/// The candidate closest to `name`, if one is close enough to be a slip of the hand.
pub(crate) fn similar<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_'], "");
    let wanted = plain(name);
    let distances = candidates.into_iter().map(|candidate| {
        let known = plain(candidate);
        let letters = wanted.chars().count().max(known.chars().count());
        // Of a name of one letter none may differ.
        let allowed = letters.div_ceil(3).min(letters.saturating_sub(1));
        (strsim::damerau_levenshtein(&wanted, &known), allowed, candidate)
    });
    let close = distances.filter(|(distance, allowed, _)| distance <= allowed);
    close.min_by_key(|(distance, ..)| *distance).map(|(.., candidate)| candidate)
}

/// What can be said about a name that is not known: the closest one, else all there are.
pub(crate) fn hint<'c>(name: &str, known: impl IntoIterator<Item = &'c str> + Clone) -> Option<String> {
    if let Some(similar) = similar(name, known.clone()) {
        return Some(format!("did you mean `{similar}`?"));
    }
    let all: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
    (!all.is_empty()).then(|| format!("there is {}", list(&all, "and")))
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list(items: &[String], last: &str) -> String {
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
}
