//! Records events for tests of loss: ids that were offered, confirmed, started and finished, over all processes.
//!
//! The producer writes an id before it publishes and after the broker's confirm. The handler writes when it starts and
//! when it ends. Each line is one write to a file that is opened for appending. So several processes can write the file
//! at the same time, and a process that is killed loses nothing that it has written. [`Ledger::check`] compares the
//! events with the content of the queues at the end.

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

/// An event of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The producer is about to publish the id.
    Offered,
    /// The broker has confirmed the id.
    Confirmed,
    /// A handler has started.
    Start,
    /// A handler has ended.
    End,
}

/// The outcome of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All its work is done, and its output is in its place.
    Succeeded,
    /// The handler failed. The queues show the fate of the transaction.
    Failed,
}

/// One line: id, attempt, process, event, outcome of an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry(pub String, pub u32, pub u32, pub Event, pub Option<Outcome>);

impl Ledger {
    /// Opens the ledger in this folder. Other processes may write it at the same time.
    ///
    /// # Errors
    /// Returns an error when the file cannot be opened.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("ledger.jsonl");
        let file = File::options().create(true).append(true).open(&path)?;
        Ok(Self { path, file })
    }

    /// Records that the producer is about to publish this id.
    ///
    /// # Panics
    /// Panics when the file cannot be written, as all methods that write do.
    pub fn offered(&self, id: &str) {
        self.write(id, 0, Event::Offered, None);
    }

    /// Records that the broker has confirmed this id.
    pub fn confirmed(&self, id: &str) {
        self.write(id, 0, Event::Confirmed, None);
    }

    /// Records that a handler has started.
    pub fn start(&self, id: &str, attempt: u32) {
        self.write(id, attempt, Event::Start, None);
    }

    /// Records that a handler has ended.
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

    /// All complete lines so far. A line that is being written is left for the next call.
    ///
    /// # Panics
    /// Panics when a line is not one of a ledger.
    pub fn entries(&self) -> Vec<Entry> {
        let text = fs::read_to_string(&self.path).expect("the ledger can be read");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).expect("a line of a ledger")).collect()
    }

    /// The number of complete lines so far. For waits, a count is quicker than parsing each line.
    ///
    /// # Panics
    /// Panics when the file cannot be read.
    pub fn count(&self) -> usize {
        fs::read_to_string(&self.path).expect("the ledger can be read").matches('\n').count()
    }

    /// Counts the fate of each id. `left` is the content of the queues after all work has ended.
    ///
    /// # Panics
    /// Panics when a line is not one of a ledger.
    pub fn check(&self, left: Left) -> Verdict {
        Verdict::of(&self.entries(), left)
    }
}
