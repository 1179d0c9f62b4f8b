//! Reduces messages to patterns, so that messages that differ only in ids, numbers and quoted values are equal.

use std::str::Chars;

/// The replacement of a difference.
const GAP: char = '…';
/// The length of a message that is read, in bytes: much more than is kept, so that long ids at its start do not matter.
const LOOKED_AT: usize = 4096;
/// The length from which a word of hexadecimal digits alone is an id.
const HEX: usize = 8;
/// A quoted text after one of these words is the name of a part of the record, and not a value.
const NAMES: [&str; 12] = [
    "field",
    "fields",
    "column",
    "columns",
    "key",
    "keys",
    "header",
    "property",
    "attribute",
    "parameter",
    "setting",
    "sheet",
];

/// The message with a gap for each number, id and quoted value, up to `most` bytes.
///
/// A word with a digit in it is an id or a number (`17`, `-1.5e3`, `A-17`, `2024-05-01`). A word of eight or more
/// hexadecimal letters and an e-mail address are ids too. Quoted text (`'…'`, `"…"`, `` `…` ``, `“…”`, `«…»`) is a
/// value, unless a word such as `field` or `column` is before it and no digit is in it. Gaps with only a sign between
/// them are one gap.
pub(super) fn of(message: &str, most: usize) -> String {
    let message = message.get(..message.floor_char_boundary(LOOKED_AT)).unwrap_or_default();
    let mut reader =
        Reader { rest: message.chars(), before: None, pattern: String::new(), word: String::new() };
    while reader.pattern.len() < most && reader.step() {}
    let end = reader.pattern.floor_char_boundary(most);
    reader.pattern.truncate(end);
    reader.pattern
}

struct Reader<'m> {
    rest: Chars<'m>,
    /// The character before the rest.
    before: Option<char>,
    pattern: String,
    /// The last word that was not an id.
    word: String,
}

impl Reader<'_> {
    /// Reads a word, a quoted text or one other character; false at the end.
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.clone().next() else { return false };
        if first.is_alphanumeric() {
            self.word();
        } else if let Some(length) = self.quoted(first) {
            self.quote(length);
        } else {
            self.advance(first.len_utf8());
            self.pattern.push(first);
        }
        true
    }

    /// A run of letters, digits, and signs between two of them.
    fn word(&mut self) {
        let text = self.rest.as_str();
        let mail = mail_end(text);
        let end = mail.unwrap_or_else(|| word_end(text, |c| matches!(c, '-' | '_')));
        let word = text.get(..end).unwrap_or_default();
        if mail.is_some() || is_id(word) {
            self.gap();
        } else {
            self.pattern.push_str(word);
            word.clone_into(&mut self.word);
        }
        self.advance(end);
    }

    /// The length of a quoted text that starts here, with its quotes.
    fn quoted(&self, open: char) -> Option<usize> {
        let close = match open {
            '"' | '\'' | '`' => open,
            '“' | '„' => '”',
            '‘' => '’',
            '«' => '»',
            _ => return None,
        };
        // The apostrophe of `can't` is inside a word.
        if self.before.is_some_and(char::is_alphanumeric) {
            return None;
        }
        let text = self.rest.as_str();
        let mut escaped = false;
        for (at, c) in text.char_indices().skip(1) {
            let after = at + c.len_utf8();
            let inside = close == '\'' && text.get(after..).is_some_and(begins_word);
            if c == close && !escaped && !inside {
                return Some(after);
            }
            escaped = c == '\\' && !escaped;
        }
        None
    }

    fn quote(&mut self, length: usize) {
        let text = self.rest.as_str().get(..length).unwrap_or_default();
        let names = NAMES.iter().any(|name| self.word.eq_ignore_ascii_case(name));
        if names && !text.chars().any(char::is_numeric) {
            self.pattern.push_str(text);
        } else {
            let mut quotes = text.chars();
            let (open, close) = (quotes.next(), quotes.next_back());
            self.pattern.extend(open.into_iter().chain([GAP]).chain(close));
        }
        self.advance(length);
    }

    /// Adds a gap. It merges with the gap before it if there is only a sign between them: `2024-05-01 10:30` has two gaps,
    /// `1,234.50` and `-5` have one.
    fn gap(&mut self) {
        let sign = self.pattern.chars().next_back();
        let joins = sign.is_some_and(|sign| matches!(sign, '.' | ',' | ':' | '/' | '-' | '+' | '#'));
        let before = self.pattern.char_indices().next_back().map_or(0, |(at, _)| at);
        if joins && self.pattern.get(..before).is_some_and(|text| text.ends_with(GAP)) {
            self.pattern.truncate(before);
            return;
        }
        let signed = matches!(sign, Some('-' | '+'));
        let word_before = self.pattern.get(..before).and_then(|text| text.chars().next_back());
        if signed && !word_before.is_some_and(char::is_alphanumeric) {
            self.pattern.truncate(before);
        }
        self.pattern.push(GAP);
    }

    fn advance(&mut self, bytes: usize) {
        let text = self.rest.as_str();
        self.before = text.get(..bytes).and_then(|text| text.chars().next_back());
        self.rest = text.get(bytes..).unwrap_or_default().chars();
    }
}

/// The end of a word that may contain these signs, if a letter or a digit follows each of them.
fn word_end(text: &str, joins: fn(char) -> bool) -> usize {
    let mut end = 0;
    for (at, c) in text.char_indices() {
        if c.is_alphanumeric() {
            end = at + c.len_utf8();
        } else if !joins(c) || end < at {
            break;
        }
    }
    end
}

/// The end of an e-mail address, if one starts here.
fn mail_end(text: &str) -> Option<usize> {
    let part = |text| word_end(text, |c| matches!(c, '-' | '_' | '.' | '+'));
    let at = part(text);
    let domain = text.get(at..)?.strip_prefix('@').filter(|domain| begins_word(domain))?;
    Some(at + 1 + part(domain))
}

fn begins_word(text: &str) -> bool {
    text.chars().next().is_some_and(char::is_alphanumeric)
}

fn is_id(word: &str) -> bool {
    let hex = |c: char| c.is_ascii_hexdigit() || c == '-';
    word.chars().any(char::is_numeric) || (word.len() >= HEX && word.chars().all(hex))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_and_ids_are_gaps() {
        for (message, pattern) in [
            ("order 17 is odd", "order … is odd"),
            ("order A-17 is odd", "order … is odd"),
            ("order ord_0042-x is odd", "order … is odd"),
            ("order deadbeefcafe is odd", "order … is odd"),
            ("order 7f9c2ba4-e88f-827d-6164-55e8c0a1b2c3 is odd", "order … is odd"),
            ("order aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee is odd", "order … is odd"),
            ("total -5 is below 0", "total … is below …"),
            ("total 1,234.50 is above 999", "total … is above …"),
            ("total 1.5e3 EUR", "total … EUR"),
            ("took 5.25s of 310ms", "took … of …"),
            ("at 2024-05-01T10:30:00.125Z", "at …"),
            ("orders.csv:42: bad", "orders.csv:…: bad"),
            ("connect to 10.0.0.17:5672", "connect to …"),
            ("no user ada.b@example.com", "no user …"),
            ("no user ada@example.com, sorry", "no user …, sorry"),
            ("numéro ٤٢ est là", "numéro … est là"),
            ("range 5-7 and 8 - 9", "range … and … - …"),
            ("", ""),
            ("nothing here differs", "nothing here differs"),
            ("a decade of façades", "a decade of façades"),
        ] {
            assert_eq!(of(message, 200), pattern, "{message}");
        }
    }

    #[test]
    fn quoted_values_are_gaps_and_names_are_not() {
        for (message, pattern) in [
            ("unknown sku \"pen\"", "unknown sku \"…\""),
            ("unknown sku 'pen'", "unknown sku '…'"),
            ("unknown sku `pen`", "unknown sku `…`"),
            ("unknown sku “pen”", "unknown sku “…”"),
            ("unknown sku «pen»", "unknown sku «…»"),
            (r#"unknown sku "a \"blue\" pen""#, "unknown sku \"…\""),
            ("no customer 'O'Brien' here", "no customer '…' here"),
            ("it can't be the customer's", "it can't be the customer's"),
            ("missing field `quantity`", "missing field `quantity`"),
            ("column \"net price\" is empty", "column \"net price\" is empty"),
            ("no such key \"A17\"", "no such key \"…\""),
            ("unclosed \"quote 17", "unclosed \"quote …"),
            ("empty \"\" text", "empty \"…\" text"),
        ] {
            assert_eq!(of(message, 200), pattern, "{message}");
        }
    }

    #[test]
    fn long_ids_at_the_begin_do_not_matter() {
        let message = |digits: usize| format!("{}: {}", "7".repeat(digits), "x".repeat(500));
        assert_eq!(of(&message(1), 50), of(&message(900), 50));
    }

    proptest! {
        #[test]
        fn a_pattern_is_no_longer_than_it_may_be(message in ".{0,300}", most in 0..250usize) {
            let pattern = of(&message, most);
            prop_assert!(pattern.len() <= most);
        }

        #[test]
        fn numbers_never_matter(one in any::<u64>(), other in any::<u64>(), text in "[a-z ]{0,20}") {
            let message = |number: u64| format!("{text} {number} {text}");
            prop_assert_eq!(of(&message(one), 200), of(&message(other), 200));
        }
    }
}
