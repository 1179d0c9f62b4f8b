//! What a supervisor knows of one worker: what it told, and what the ones before it in its place had done.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::message::{Ending, Fault, Message};
use crate::runner::watch::Vitals;
use crate::task::Snapshot;
use crate::telemetry::Tally;

/// A worker tells how it is twice a second; one that says nothing for so long is held up.
const SILENT: Duration = Duration::from_secs(30);

/// The books on one place.
#[derive(Debug)]
pub(super) struct Record(Mutex<Books>);

#[derive(Debug)]
struct Books {
    /// What those had done that died in this place.
    before: Tally,
    now: Tally,
    /// What each of its loops has fetched of a limit, by the loop's number. This is known of a worker that dies too:
    /// it says so before it begins with any of it.
    drawn: BTreeMap<u64, u64>,
    in_flight: usize,
    /// How many there are to process, if it has said so.
    total: Option<u64>,
    begun: bool,
    /// Whether one of those that were in this place may have written something.
    wrote: bool,
    vitals: Vitals,
    /// What it measured, as it last said.
    metrics: Option<String>,
    faults: Vec<Fault>,
    ending: Option<Ending>,
    heard: Instant,
    restarts: u64,
}

impl Record {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Books {
            before: Tally::default(),
            now: Tally::default(),
            drawn: BTreeMap::new(),
            in_flight: 0,
            total: None,
            begun: false,
            wrote: false,
            vitals: Vitals::default(),
            metrics: None,
            faults: Vec::new(),
            ending: None,
            heard: Instant::now(),
            restarts: 0,
        }))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what the worker says.
    pub(super) fn heed(&self, message: Message) {
        let mut books = self.books();
        books.heard = Instant::now();
        match message {
            Message::Begun { total } => (books.begun, books.total) = (true, total),
            Message::Progress { tally, in_flight, vitals, metrics } => {
                (books.now, books.in_flight, books.vitals) = (*tally, in_flight, vitals);
                books.metrics = metrics;
            }
            Message::Claims { draw, claim } => {
                books.drawn.insert(draw, claim.taken);
            }
            Message::Draws { .. } | Message::Leaves { .. } => (),
            Message::Refused { faults } => books.faults = faults,
            Message::Ended(ending) => {
                books.now = ending.tally.clone();
                books.in_flight = 0;
                books.ending = Some(*ending);
            }
        }
    }

    /// A worker was there, whatever came of it. Only one that said why it could not begin has surely written nothing:
    /// the word of one that began may have died with it.
    pub(super) fn lived(&self) {
        let mut books = self.books();
        books.wrote |= books.faults.is_empty();
    }

    /// Whether what the next one finds may be the work of one that was here before it.
    pub(super) fn may_have_written(&self) -> bool {
        self.books().wrote
    }

    /// The worker is dead, and another takes its place.
    pub(super) fn replaced(&self) {
        let mut books = self.books();
        let dead = std::mem::take(&mut books.now);
        books.drawn.clear();
        books.before.add(&dead);
        // Its threads died with it.
        books.before.abandoned_threads = 0;
        books.vitals = Vitals::default();
        books.metrics = None;
        books.faults.clear();
        books.restarts += 1;
        books.heard = Instant::now();
    }

    /// The worker has ended. If it died, it has fetched what it said last; `exact` says that all it fetches it draws from
    /// a limit, else it may have fetched more.
    pub(super) fn left(&self, exact: bool) {
        let mut books = self.books();
        books.in_flight = 0;
        if books.ending.is_none() {
            let drawn: u64 = books.drawn.values().sum();
            books.now.fetched = if exact { drawn } else { books.now.fetched.max(drawn) };
        }
    }

    /// The place is empty for now: its work is not done.
    pub(super) fn vacant(&self) {
        let mut books = self.books();
        (books.begun, books.ending) = (false, None);
    }

    /// What the worker measured, as it last said.
    pub(super) fn metrics(&self) -> Option<String> {
        self.books().metrics.clone()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let books = self.books();
        let mut tally = books.before.clone();
        tally.add(&books.now);
        Snapshot { tally, in_flight: books.in_flight, undelivered: None }
    }

    /// How many there are to process in this place, those done before included.
    pub(super) fn total(&self) -> Option<u64> {
        let books = self.books();
        Some(books.before.processed + books.total?)
    }

    pub(super) fn ending(&self) -> Option<Ending> {
        self.books().ending.clone()
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        self.books().faults.clone()
    }

    pub(super) fn restarts(&self) -> u64 {
        self.books().restarts
    }

    /// How the worker is, as it says, and as its silence says.
    pub(super) fn vitals(&self) -> Vitals {
        let books = self.books();
        if books.ending.is_some() {
            return Vitals::default();
        }
        let silent = books.heard.elapsed();
        let mut vitals = books.vitals.clone();
        if silent > SILENT && books.begun {
            vitals.ill.get_or_insert(format!("nothing heard for {} seconds", silent.as_secs()));
        }
        if !books.begun {
            vitals.unready = Some("starting".to_owned());
        }
        vitals
    }
}

/// All places of a task together.
pub(super) fn merged<'r>(records: impl Iterator<Item = &'r Record>) -> Snapshot {
    let mut whole = Snapshot::default();
    let mut abandoned = 0;
    for record in records {
        let Snapshot { tally, in_flight, .. } = record.snapshot();
        abandoned += tally.abandoned_threads;
        whole.tally.add(&tally);
        whole.in_flight += in_flight;
    }
    // Loops of one process share their threads; processes do not.
    whole.tally.abandoned_threads = abandoned;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(processed: u64, in_flight: usize, abandoned_threads: u64) -> Message {
        let mut tally = Tally::default();
        (tally.processed, tally.abandoned_threads) = (processed, abandoned_threads);
        Message::Progress { tally: Box::new(tally), in_flight, vitals: Vitals::default(), metrics: None }
    }

    #[test]
    fn what_the_dead_had_done_still_counts() {
        let records = [Record::new(), Record::new()];
        records[0].heed(progress(5, 2, 1));
        records[0].replaced();
        records[0].heed(progress(3, 1, 1));
        records[1].heed(progress(10, 4, 2));
        let whole = merged(records.iter());
        assert_eq!((whole.tally.processed, whole.in_flight, whole.tally.abandoned_threads), (18, 5, 3));
        assert_eq!((records[0].restarts(), records[1].restarts()), (1, 0));
    }

    #[test]
    fn what_a_dead_worker_fetched_of_a_limit_is_what_it_said_last() {
        let fetched = |exact: bool| {
            let record = Record::new();
            let mut tally = Tally::default();
            // Five of them are only being asked for.
            tally.fetched = 9;
            let vitals = Vitals::default();
            record.heed(Message::Progress { tally: Box::new(tally), in_flight: 4, vitals, metrics: None });
            let claim = crate::task::Claim { taken: 4, ..crate::task::Claim::default() };
            record.heed(Message::Claims { draw: 0, claim });
            record.left(exact);
            record.replaced();
            record.left(exact);
            record.snapshot().tally.fetched
        };
        assert_eq!((fetched(true), fetched(false)), (4, 9));
    }

    #[test]
    fn only_one_that_could_not_begin_has_surely_written_nothing() {
        let record = Record::new();
        let fault = Fault::from(&crate::error::Error::new(crate::error::ErrorKind::Connector, "no broker"));
        record.heed(Message::Refused { faults: vec![fault] });
        record.lived();
        record.replaced();
        assert!(!record.may_have_written());
        record.lived();
        record.replaced();
        assert!(record.may_have_written(), "it died without a word");
    }

    #[test]
    fn a_vacant_place_is_not_ready() {
        let record = Record::new();
        record.heed(Message::Begun { total: None });
        assert_eq!(record.vitals().unready, None);
        record.vacant();
        assert_eq!(record.vitals().unready.as_deref(), Some("starting"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_says_nothing_is_ill() {
        let record = Record::new();
        assert_eq!(record.vitals().unready.as_deref(), Some("starting"));
        record.heed(Message::Begun { total: Some(3) });
        assert_eq!((record.vitals(), record.total()), (Vitals::default(), Some(3)));
        tokio::time::advance(SILENT + Duration::from_secs(1)).await;
        assert_eq!(record.vitals().ill.as_deref(), Some("nothing heard for 31 seconds"));
    }
}
