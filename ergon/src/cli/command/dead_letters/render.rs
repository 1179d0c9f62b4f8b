//! Renders dead letters, as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::search::{Search, Skipped};
use super::{End, Ends, field_of, payload, replays};
use crate::cli::args::{Format, LetterAction, Replay};
use crate::cli::humanize;
use crate::error::Error;
use crate::transaction::{Transaction, key, time};

/// The data that a command writes to standard output.
pub(super) fn render(search: &Search<'_>, action: &LetterAction, format: Format) -> String {
    let json = |letters: &[Transaction], of: fn(&Transaction) -> Value| -> Value {
        letters.iter().map(of).collect()
    };
    match (action, format) {
        (LetterAction::List(_), Format::Json) => format!("{:#}\n", json(&search.found, reason)),
        (LetterAction::Show(_), Format::Json) => format!("{:#}\n", json(&search.found, whole)),
        (LetterAction::Replay(replay), Format::Json) => {
            let ids = |letters: &[Transaction]| json(letters, |letter| letter.id().into());
            let failed = search.failed.iter();
            let failed: Value =
                failed.map(|(letter, error)| json!({"id": letter.id(), "error": chain(error)})).collect();
            let skipped: Value = search.skipped.iter().map(|(letter, _)| letter.id()).collect();
            let rejected = search.rejected.iter();
            let rejected: Value =
                rejected.map(|(letter, error)| json!({"id": letter.id(), "error": error})).collect();
            let replayed = ids(&search.found);
            let dry_run = replay.dry_run;
            let mut all =
                json!({"dry_run": dry_run, "replayed": replayed, "skipped": skipped, "failed": failed});
            if replay.process
                && let Value::Object(all) = &mut all
            {
                all.insert("rejected".to_owned(), rejected);
            }
            format!("{all:#}\n")
        }
        (LetterAction::List(_), _) => table(&search.found),
        (LetterAction::Show(_), _) => search.found.iter().map(shown).collect::<Vec<_>>().join("\n"),
        (LetterAction::Replay(replay), _) => sent(search, replay),
    }
}

/// An error with its causes and its hint, on one line.
fn chain(error: &Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let hint = error.hint().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")) + &hint
}

/// The reason of a dead letter.
fn reason(letter: &Transaction) -> Value {
    let field = |name: &str| field_of(letter, name);
    json!({
        "id": letter.id(),
        "task": letter.metadata().text(key::TASK),
        "category": field("category"),
        "attempts": field("attempts"),
        "replays": replays(letter),
        "error": field("error"),
    })
}

fn whole(letter: &Transaction) -> Value {
    let entries = letter.metadata().iter().map(|(name, value)| (name.to_owned(), value.clone()));
    json!({
        "id": letter.id(),
        "created_at": time::micros(letter.created_at()).to_string(),
        "parent_id": letter.parent_id(),
        "correlation_id": letter.correlation_id(),
        "metadata": entries.collect::<Map<_, _>>(),
        "content_type": letter.payload().content_type().as_str(),
        "payload": payload(letter),
    })
}

/// Replaces control characters, because external text must not control the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

fn cell(value: Option<Value>) -> String {
    match value {
        Some(Value::String(text)) => plain(&text),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
    }
}

fn table(letters: &[Transaction]) -> String {
    let fields = ["id", "category", "attempts", "replays", "error"];
    let head = fields.map(str::to_owned);
    let row = |letter: &Transaction| fields.map(|field| cell(field_of(letter, field)));
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(letters.iter().map(row)).collect();
    if letters.is_empty() {
        return String::new();
    }
    let width = |column: fn(&[String; 5]) -> &String| {
        rows.iter().map(|row| column(row).chars().count()).max().unwrap_or_default()
    };
    let (ids, categories) = (width(|[id, ..]| id), width(|[_, category, ..]| category));
    let line = |[id, category, attempts, replays, error]: &[String; 5]| {
        format!("{id:<ids$}  {category:<categories$}  {attempts:>8}  {replays:>7}  {error}\n")
    };
    rows.iter().map(line).collect()
}

fn shown(letter: &Transaction) -> String {
    let mut text = format!("{}\n", plain(letter.id()));
    // Writing to a String cannot fail, here and below.
    for (name, value) in letter.metadata().iter() {
        let _ = writeln!(text, "  {}: {}", plain(name), cell(Some(value.clone())));
    }
    let payload = payload(letter);
    let _ = match payload {
        Value::String(payload) => writeln!(text, "  payload: {}", plain(&payload)),
        payload => writeln!(text, "  payload: {}", format!("{payload:#}").replace('\n', "\n  ")),
    };
    text
}

fn sent(search: &Search<'_>, replay: &Replay) -> String {
    let mut text = String::new();
    let dry_run = replay.dry_run;
    let verb = match (replay.process, dry_run) {
        (false, false) => "sent back",
        (false, true) => "would send back",
        (true, false) => "processed",
        (true, true) => "would process",
    };
    for letter in &search.found {
        let _ = writeln!(text, "{verb} {}", plain(letter.id()));
    }
    for (letter, why) in &search.rejected {
        let _ = writeln!(text, "rejected again {}: {}", plain(letter.id()), plain(why));
    }
    for (letter, why) in &search.skipped {
        let done = if replay.process { "processed" } else { "sent back" };
        let why = match (why, replays(letter)) {
            (Skipped::SameId, _) if dry_run => format!("another dead letter with this id would be {done}"),
            (Skipped::SameId, _) => format!("another dead letter with this id was just {done}"),
            (Skipped::SentBefore, 1) => "sent back once before, and rejected again".to_owned(),
            (Skipped::SentBefore, times) => format!("sent back {times} times before, and rejected again"),
        };
        let _ = writeln!(text, "skipped {}: {why}", plain(letter.id()));
    }
    for (letter, error) in &search.failed {
        let _ = writeln!(text, "failed {}: {}", plain(letter.id()), plain(&chain(error)));
    }
    text
}

/// The sentences on standard error.
pub(super) fn summary(search: &Search<'_>, action: &LetterAction, ends: &Ends) -> String {
    let letters = |number: usize| {
        let count = humanize::count(number as u64);
        if number == 1 { format!("{count} dead letter") } else { format!("{count} dead letters") }
    };
    let at = |(slot, _): &End| format!("`{}` ({})", slot.name, slot.kind);
    let from = at(&ends.letters);
    let LetterAction::Replay(replay) = action else {
        return format!("{} in {from}.\n", letters(search.found.len()));
    };
    let replayed = search.found.len() + search.rejected.len();
    let verb = match replayed {
        _ if replay.dry_run => "would be",
        1 => "was",
        _ => "were",
    };
    let replayed = letters(replayed);
    let mut text = match &ends.origin {
        Some(origin) if !replay.process => {
            format!("{replayed} {verb} sent from {from} back to {}.", at(origin))
        }
        _ => format!("{replayed} from {from} {verb} processed by the task."),
    };
    if !search.rejected.is_empty() {
        let count = search.rejected.len();
        let were = if count == 1 { "was" } else { "were" };
        let _ = write!(text, " {} {were} rejected again.", humanize::count(count as u64));
    }
    if !search.failed.is_empty() {
        let _ = write!(text, " {} failed.", letters(search.failed.len()));
    }
    if !search.skipped.is_empty() {
        let same = search.skipped.iter().filter(|(_, why)| *why == Skipped::SameId).count();
        let which = match (replay.process, same) {
            (false, 0) => "sends back dead letters that were sent back before",
            (false, all) if all == search.skipped.len() => {
                "sends back each of several dead letters with one id"
            }
            (false, _) => "sends them back as well",
            (true, _) => "processes them as well",
        };
        let were = if search.skipped.len() == 1 { "was" } else { "were" };
        let _ = write!(text, " {} {were} skipped: `--again` {which}.", letters(search.skipped.len()));
    }
    text + "\n"
}
