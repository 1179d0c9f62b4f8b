//! The rows that a run took over from one that did not come to its end.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

/// Which rows were there when the run began: a source that begins anew brings them again.
///
/// A row is known by its transaction's id and its content together. The id alone would not do: the first line of
/// today's file has the id that the first line of yesterday's had.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    /// How many there are of each; so two rows that were equal from the start stay two.
    rows: HashMap<[u64; 2], u32>,
    /// Two hashes of a line instead of the line: together they do not meet by chance.
    hashers: [RandomState; 2],
    left_out: u64,
}

impl Recovered {
    /// Takes in a line that was there. One without an id may be equal to another and yet a different one.
    pub(super) fn add(&mut self, line: &[u8]) {
        if line.starts_with(b"{") && !line.starts_with(b"{\"id\":\"\"") {
            *self.rows.entry(self.key(line)).or_default() += 1;
        }
    }

    /// Says whether this line was there and has not been brought again by now.
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

    /// Logs how many rows were not written twice.
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
