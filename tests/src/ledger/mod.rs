//! The books of a test of loss: what was offered, confirmed, begun and finished, over all processes.
//!
//! The producer writes an id before it publishes and after the broker's confirm; the handler writes when it begins
//! and ends. Each line is one write to a file opened for appending, so that several processes can write it at once and
//! a process that is killed loses nothing that it has written. [`Ledger::check`] takes what is left in the queues at
//! the end and counts.

mod verdict;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use verdict::{Left, Verdict};

/// A file of events that any number of processes append to.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
}

/// What a line says of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The producer is about to publish it.
    Offered,
    /// The broker has confirmed it.
    Confirmed,
    /// A handler has begun.
    Start,
    /// A handler has ended.
    End,
}

/// How a handler ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All its work is done: what it made is where it belongs.
    Succeeded,
    /// It failed; what becomes of the transaction is for the queues to show.
    Failed,
}

/// One line: id, attempt, process, event, outcome of an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry(pub String, pub u32, pub u32, pub Event, pub Option<Outcome>);

impl Ledger {
    /// Opens the ledger in this folder, which may be written by others at the same time.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("ledger.jsonl");
        let file = File::options().create(true).append(true).open(&path)?;
        Ok(Self { path, file })
    }

    /// Says that the producer is about to publish this id.
    ///
    /// # Panics
    /// When the file cannot be written, as do all that write it.
    pub fn offered(&self, id: &str) {
        self.write(id, 0, Event::Offered, None);
    }

    /// Says that the broker has confirmed this id.
    pub fn confirmed(&self, id: &str) {
        self.write(id, 0, Event::Confirmed, None);
    }

    /// Says that a handler has begun.
    pub fn start(&self, id: &str, attempt: u32) {
        self.write(id, attempt, Event::Start, None);
    }

    /// Says that a handler has ended.
    pub fn end(&self, id: &str, attempt: u32, outcome: Outcome) {
        self.write(id, attempt, Event::End, Some(outcome));
    }

    fn write(&self, id: &str, attempt: u32, event: Event, outcome: Option<Outcome>) {
        let entry = Entry(id.to_owned(), attempt, std::process::id(), event, outcome);
        let mut line = serde_json::to_vec(&entry).expect("an entry is plain data");
        line.push(b'\n');
        let written = (&self.file).write(&line).expect("the ledger can be written");
        assert_eq!(written, line.len(), "one write for one line");
    }

    /// All whole lines so far; one that is being written is left for the next time.
    ///
    /// # Panics
    /// When a line is not one of a ledger.
    pub fn entries(&self) -> Vec<Entry> {
        let text = fs::read_to_string(&self.path).expect("the ledger can be read");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).expect("a line of a ledger")).collect()
    }

    /// The number of whole lines so far, for waits: a count is quick where each line would have to be parsed.
    ///
    /// # Panics
    /// When the file cannot be read.
    pub fn count(&self) -> usize {
        fs::read_to_string(&self.path).expect("the ledger can be read").matches('\n').count()
    }

    /// Counts what became of each id; `left` is what the queues hold now that nobody works any more.
    ///
    /// # Panics
    /// When a line is not one of a ledger.
    pub fn check(&self, left: Left) -> Verdict {
        Verdict::of(&self.entries(), left)
    }
}
