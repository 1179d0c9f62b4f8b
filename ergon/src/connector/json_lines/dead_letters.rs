//! Lists and redrives the dead letters in a file.
//!
//! The connector never changes or moves a line of a dead letter. A second file, with `.replayed` after its name,
//! records which lines were sent back. So a task may write dead letters at the same time, and a crash loses none: if a
//! crash prevents the record, the dead letter is sent back again.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::lines::Lines;
use super::{Envelope, JsonLines, JsonLinesFormat, envelope, error, source, truncated};
use crate::connector::kit::file::{AppendFile, Batch, Fsync, WriteOptions, file_error, open_file};
use crate::connector::{ConnectorError, DeadLetterVisitor, DeadLetters, Redrive, Visit};
use crate::transaction::{Content, Payload, Transaction, key, time};

impl DeadLetters for JsonLines {
    async fn visit(&self, visitor: &mut dyn DeadLetterVisitor) -> Result<(), ConnectorError> {
        let JsonLinesFormat { config, file: name } = self.format();
        let path = &config.path;
        if !path.exists() {
            return Ok(());
        }
        let mut replayed = Replayed::read(sidecar(path), visitor.takes())?;
        let file = open_file(path)?;
        // The next call visits the dead letters that are written during this call. Otherwise a dead letter that is sent
        // back and rejected again could be visited without end.
        let there = file.metadata().map_err(|error| file_error("read", path, error))?.len();
        let mut lines = Lines::new(file.take(there), config.max_line);
        while let Some(line) = lines.next().map_err(|error| file_error("read", path, error))? {
            if line.is_blank() || replayed.has(line.number, &line.content) {
                continue;
            }
            let (number, content) = (line.number, line.content.clone());
            let letter = if config.envelope == Envelope::Never {
                source::transaction(self.format(), line)
            } else {
                let made = Transaction::builder().source(name.clone());
                envelope::unwrapped(made, format!("{name}:{number}"), &line.content)
            };
            match visitor.visit(replayed.counted(letter)).await {
                Visit::Keep => (),
                Visit::Stop => break,
                Visit::Remove => replayed.add(number, &content)?,
            }
        }
        Ok(())
    }
}

/// A redrive appends a line also with `append = false`, because the content of the file must stay. Without envelopes
/// the line is the payload alone, and the file next to the dead letters records how often it was sent back.
impl Redrive for JsonLines {
    async fn redrive(&self, transaction: Transaction) -> Result<(), ConnectorError> {
        let config = &self.format().config;
        let options = WriteOptions { create: false, append: true, fsync: Fsync::Each };
        let envelope = match config.envelope {
            Envelope::Always => Envelope::Always,
            Envelope::Auto | Envelope::Never => Envelope::Never,
        };
        let mut batch = Batch::default();
        batch.add(|line| match transaction.payload().content() {
            // A line that is not JSON goes back as it was.
            Content::Body(_, bytes) if envelope == Envelope::Never && !bytes.contains(&b'\n') => {
                line.extend_from_slice(bytes);
                Ok(())
            }
            _ => envelope::write(&transaction, envelope, line)
                .map_err(|cause| error::no_json(&transaction, cause)),
        });
        AppendFile::open(&config.path, options).await?.append(&mut batch, truncated::ending)
    }
}

/// The path of the file next to the dead letters.
fn sidecar(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".replayed");
    name.into()
}

/// A dead letter that was sent back: one line of the file next to the dead letters.
#[derive(Serialize, Deserialize)]
struct Row<'a> {
    /// The line of the dead letter.
    line: u64,
    replayed_at: String,
    #[serde(borrow)]
    letter: &'a RawValue,
}

#[derive(Deserialize)]
struct Letter<'a> {
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// The dead letters that were sent back.
struct Replayed {
    path: PathBuf,
    /// Locked by a process that sends dead letters back, so that no other process sends the same dead letters at the
    /// same time.
    file: Option<File>,
    /// By line and content, because a file that was emptied has other dead letters on its lines.
    letters: HashSet<(u64, String)>,
    /// The number of times that each payload was sent back, because a line with the payload alone cannot carry it.
    payloads: HashMap<String, u64>,
}

impl Replayed {
    fn read(path: PathBuf, takes: bool) -> Result<Self, ConnectorError> {
        let file = if takes { Some(lock(&path)?) } else { None };
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|error| file_error("read", &path, error))?,
        };
        let mut replayed = Self { path, file, letters: HashSet::new(), payloads: HashMap::new() };
        // A line that a crash cut off is ignored, so its dead letter is sent back again.
        for row in text.lines().filter_map(|line| serde_json::from_str::<Row<'_>>(line).ok()) {
            replayed.remember(row.line, row.letter.get());
        }
        Ok(replayed)
    }

    fn has(&self, line: u64, content: &[u8]) -> bool {
        let text = String::from_utf8_lossy(content);
        self.letters.contains(&(line, text.trim().to_owned()))
    }

    fn remember(&mut self, line: u64, letter: &str) {
        if let Ok(inner) = serde_json::from_str::<Letter<'_>>(letter) {
            *self.payloads.entry(inner.payload.get().to_owned()).or_default() += 1;
        }
        self.letters.insert((line, letter.to_owned()));
    }

    /// Adds to the dead letter how often it was sent back: the count of this file, or the count in its own metadata.
    fn counted(&self, letter: Transaction) -> Transaction {
        let own = letter.metadata().get(key::REPLAYS).and_then(serde_json::Value::as_u64).unwrap_or_default();
        let known = payload_text(letter.payload()).and_then(|text| self.payloads.get(&text).copied());
        match known.unwrap_or_default().max(own) {
            0 => letter,
            replays => letter.annotate([(key::REPLAYS, replays)]),
        }
    }

    fn add(&mut self, line: u64, content: &[u8]) -> Result<(), ConnectorError> {
        let failed = |error| file_error("write to", &self.path, error);
        let text = String::from_utf8_lossy(content).trim().to_owned();
        let letter: &RawValue = serde_json::from_str(&text).map_err(|error| failed(error.into()))?;
        let replayed_at = time::seconds(SystemTime::now()).to_string();
        let mut row =
            serde_json::to_vec(&Row { line, replayed_at, letter }).map_err(|error| failed(error.into()))?;
        row.push(b'\n');
        if let Some(file) = &mut self.file {
            file.write_all(&row).and_then(|()| file.sync_data()).map_err(failed)?;
        }
        // The count of the payload applies from the next call on. Within this call, another dead letter with the same
        // payload was not sent back yet.
        self.letters.insert((line, text));
        Ok(())
    }
}

fn payload_text(payload: &Payload) -> Option<String> {
    String::from_utf8(payload.to_bytes().ok()?.to_vec()).ok()
}

/// Opens and locks the file for a process that sends back; ends a line that a crash cut off.
fn lock(path: &PathBuf) -> Result<File, ConnectorError> {
    let failed = |error| file_error("open for writing", path, error);
    let mut file = File::options().append(true).create(true).read(true).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => (),
        Err(std::fs::TryLockError::WouldBlock) => {
            let what = format!("somebody else sends letters back right now: {} is locked", path.display());
            return Err(ConnectorError::transient(what).with_hint("wait until that command has ended"));
        }
        Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
    }
    let text = std::fs::read(path).map_err(failed)?;
    if text.last().is_some_and(|last| *last != b'\n') {
        file.write_all(b"\n").map_err(failed)?;
    }
    Ok(file)
}
