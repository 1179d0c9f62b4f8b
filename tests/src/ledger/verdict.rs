//! Judges the events of a ledger at the end of a test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Entry, Event, Outcome};

/// The number of ids of each kind that are shown.
const SHOWN: usize = 8;

/// The content of the queues after all work has ended, by id.
#[derive(Debug, Clone, Default)]
pub struct Left {
    /// The ids that still wait in the source.
    pub queued: Vec<String>,
    /// The dead-lettered ids.
    pub dead_letters: Vec<String>,
    /// The ids at the sink, if the test has a sink. An id that succeeded must be among them.
    pub arrived: Option<Vec<String>>,
}

/// The number of faulty ids of each kind, and the ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// The number of confirmed ids.
    pub confirmed: usize,
    /// The number of confirmed ids that succeeded.
    pub succeeded: usize,
    /// Confirmed, and neither finished, nor dead-lettered, nor still queued; or succeeded and not at the sink.
    pub lost: Vec<String>,
    /// Done more than once, or done and still queued: once for each time too many.
    pub dup: Vec<String>,
    /// Succeeded and dead-lettered.
    pub conflict: Vec<String>,
    /// Found somewhere, and never offered by the producer.
    pub phantom: Vec<String>,
}

/// The recorded facts of one id.
#[derive(Debug, Default)]
struct Life {
    offered: bool,
    confirmed: bool,
    succeeded: usize,
    queued: usize,
    dead: usize,
    arrived: usize,
}

impl Verdict {
    pub(super) fn of(entries: &[Entry], left: Left) -> Self {
        let sink = left.arrived.is_some();
        let mut verdict = Self::default();
        for (id, life) in lives(entries, left) {
            verdict.confirmed += usize::from(life.confirmed);
            verdict.succeeded += usize::from(life.succeeded > 0);
            verdict.judge(&id, &life, sink);
        }
        verdict
    }

    fn judge(&mut self, id: &str, life: &Life, sink: bool) {
        let missing = sink && life.arrived == 0;
        let placed = life.succeeded + life.queued + life.dead > 0;
        if life.confirmed && !placed || life.succeeded > 0 && missing {
            self.lost.push(id.to_owned());
        }
        if life.succeeded > 0 {
            let again = life.succeeded + life.queued - 1;
            self.dup.extend(std::iter::repeat_n(id.to_owned(), again));
        }
        if life.succeeded > 0 && life.dead > 0 {
            self.conflict.push(id.to_owned());
        }
        if !life.offered {
            self.phantom.push(id.to_owned());
        }
    }

    /// Fails the test if an id was lost, both succeeded and was dead-lettered, or was never offered.
    ///
    /// # Panics
    /// With the counts and the first ids, unless LOST, CONFLICT and PHANTOM are 0.
    pub fn assert_nothing_lost(&self) {
        let clean = self.lost.is_empty() && self.conflict.is_empty() && self.phantom.is_empty();
        assert!(clean, "{self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} confirmed, {} succeeded", self.confirmed, self.succeeded)?;
        let kinds = [
            ("LOST", &self.lost),
            ("DUP", &self.dup),
            ("CONFLICT", &self.conflict),
            ("PHANTOM", &self.phantom),
        ];
        for (name, ids) in kinds {
            write!(f, ", {name} {}", ids.len())?;
            let distinct: BTreeSet<&String> = ids.iter().collect();
            let first: Vec<&str> = distinct.iter().take(SHOWN).map(|id| id.as_str()).collect();
            let more = if distinct.len() > SHOWN { ", …" } else { "" };
            if !first.is_empty() {
                write!(f, " ({}{more})", first.join(", "))?;
            }
        }
        Ok(())
    }
}

fn lives(entries: &[Entry], left: Left) -> BTreeMap<String, Life> {
    let mut lives: BTreeMap<String, Life> = BTreeMap::new();
    for Entry(id, _, _, event, outcome) in entries {
        let life = lives.entry(id.clone()).or_default();
        match (event, outcome) {
            (Event::Offered, _) => life.offered = true,
            (Event::Confirmed, _) => life.confirmed = true,
            (Event::End, Some(Outcome::Succeeded)) => life.succeeded += 1,
            (Event::Start | Event::End, _) => {}
        }
    }
    let mut count = |ids: Vec<String>, add: fn(&mut Life)| {
        for id in ids {
            add(lives.entry(id).or_default());
        }
    };
    count(left.queued, |life| life.queued += 1);
    count(left.dead_letters, |life| life.dead += 1);
    count(left.arrived.unwrap_or_default(), |life| life.arrived += 1);
    lives
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tempfile::TempDir;

    use super::*;
    use crate::ledger::Ledger;

    /// A ledger in which `a` and `b` were confirmed and `a` succeeded.
    fn ledger() -> (Ledger, TempDir) {
        let folder = TempDir::new().unwrap();
        let ledger = Ledger::open(folder.path()).unwrap();
        for id in ["a", "b"] {
            ledger.offered(id);
            ledger.confirmed(id);
            ledger.start(id, 1);
        }
        ledger.end("a", 1, Outcome::Succeeded);
        (ledger, folder)
    }

    fn ids<const N: usize>(ids: [&str; N]) -> Vec<String> {
        ids.map(String::from).to_vec()
    }

    #[test]
    fn all_is_well_when_each_id_is_in_one_place() {
        let (ledger, _folder) = ledger();
        let queued = ledger.check(Left { queued: ids(["b"]), ..Left::default() });
        let dead = ledger.check(Left { dead_letters: ids(["b"]), ..Left::default() });
        assert_eq!(queued, Verdict { confirmed: 2, succeeded: 1, ..Verdict::default() });
        assert_eq!(dead, queued);
        queued.assert_nothing_lost();
        assert_eq!(queued.to_string(), "2 confirmed, 1 succeeded, LOST 0, DUP 0, CONFLICT 0, PHANTOM 0");
    }

    #[test]
    #[should_panic(expected = "LOST 1 (b), DUP 0")]
    fn lost_is_confirmed_and_nowhere() {
        let (ledger, _folder) = ledger();
        ledger.check(Left::default()).assert_nothing_lost();
    }

    #[test]
    fn lost_is_not_what_was_only_offered() {
        let (ledger, _folder) = ledger();
        ledger.end("b", 1, Outcome::Succeeded);
        ledger.offered("c");
        assert_eq!(ledger.check(Left::default()).lost, ids([]));
    }

    #[test]
    fn lost_is_what_failed_and_is_nowhere() {
        let (ledger, _folder) = ledger();
        ledger.end("b", 1, Outcome::Failed);
        assert_eq!(ledger.check(Left::default()).lost, ids(["b"]));
    }

    #[test]
    fn lost_is_what_succeeded_and_never_arrived() {
        let (ledger, _folder) = ledger();
        let left = Left { queued: ids(["b"]), arrived: Some(Vec::new()), ..Left::default() };
        assert_eq!(ledger.check(left.clone()).lost, ids(["a"]));
        assert_eq!(ledger.check(Left { arrived: Some(ids(["a"])), ..left }).lost, ids([]));
    }

    #[test]
    fn dup_counts_each_time_too_many() {
        let (ledger, _folder) = ledger();
        ledger.end("a", 1, Outcome::Succeeded);
        ledger.end("a", 2, Outcome::Succeeded);
        let verdict = ledger.check(Left { queued: ids(["a", "b"]), ..Left::default() });
        assert_eq!(verdict.dup, ids(["a", "a", "a"]));
        verdict.assert_nothing_lost();
        assert!(verdict.to_string().contains("DUP 3 (a),"), "{verdict}");
    }

    #[test]
    #[should_panic(expected = "CONFLICT 1 (a)")]
    fn conflict_is_done_and_dead() {
        let (ledger, _folder) = ledger();
        ledger.check(Left { dead_letters: ids(["a", "b"]), ..Left::default() }).assert_nothing_lost();
    }

    #[test]
    #[should_panic(expected = "PHANTOM 3 (x, y, z)")]
    fn phantom_was_never_offered() {
        let (ledger, _folder) = ledger();
        ledger.start("x", 1);
        let (queued, arrived) = (ids(["b", "y"]), Some(ids(["a", "z"])));
        ledger.check(Left { queued, arrived, ..Left::default() }).assert_nothing_lost();
    }

    #[test]
    fn only_the_first_ids_are_shown() {
        let (ledger, _folder) = ledger();
        (10..30).for_each(|n| ledger.confirmed(&n.to_string()));
        let shown = ledger.check(Left { queued: ids(["b"]), ..Left::default() }).to_string();
        assert!(shown.contains("LOST 20 (10, 11, 12, 13, 14, 15, 16, 17, …)"), "{shown}");
    }

    #[test]
    fn several_processes_write_whole_lines() {
        let (ledger, folder) = ledger();
        let line = r#"["elsewhere",1,1,"start",null]"#;
        let script = format!("for n in $(seq 500); do echo '{line}'; done >> ledger.jsonl");
        let mut other = Command::new("/bin/sh").args(["-c", &script]).current_dir(&folder).spawn().unwrap();
        (0..500).for_each(|_| ledger.start("here", 1));
        assert!(other.wait().unwrap().success());
        assert_eq!(ledger.entries().len(), 7 + 1000);
    }
}
