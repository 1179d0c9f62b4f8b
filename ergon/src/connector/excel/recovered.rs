//! Remembers the rows that a run took over from an unfinished run, so that a row which the source delivers again is not
//! written twice.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

/// The rows that existed when the run started. A source that starts again delivers them again.
///
/// A row is identified by its transaction's id together with its content. The id alone is not enough, because the
/// first line of today's file has the id of the first line of yesterday's file.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    /// The count of each row, so that two equal rows of the source stay two rows.
    rows: HashMap<[u64; 2], u32>,
    /// Two hashes replace the line, to save memory. Both together do not collide by chance.
    hashers: [RandomState; 2],
    left_out: u64,
}

impl Recovered {
    /// Adds an existing line. A line without an id is left out, because an equal line may be a different transaction.
    pub(super) fn add(&mut self, line: &[u8]) {
        if line.starts_with(b"{") && !line.starts_with(b"{\"id\":\"\"") {
            *self.rows.entry(self.key(line)).or_default() += 1;
        }
    }

    /// Returns whether this line existed and has not been delivered again yet.
    pub(super) fn brings_again(&mut self, line: &[u8]) -> bool {
        if self.rows.is_empty() {
            return false;
        }
        let key = self.key(line);
        let Some(left) = self.rows.get_mut(&key) else { return false };
        *left -= 1;
        if *left == 0 {
            self.rows.remove(&key);
        }
        self.left_out += 1;
        true
    }

    /// Logs the number of rows that were not written a second time.
    pub(super) fn log(&self, file: &Path) {
        if self.left_out > 0 {
            let (file, rows) = (file.display(), self.left_out);
            tracing::info!(%file, rows, "rows that stood there from the unfinished run came again and are left out");
        }
    }

    fn key(&self, line: &[u8]) -> [u64; 2] {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(line))
    }
}
