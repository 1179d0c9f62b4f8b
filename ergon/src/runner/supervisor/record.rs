//! Keeps the supervisor's record of one worker: the state that its process reported, and the figures of the processes
//! before it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::message::{Ending, Fault, Message};
use crate::runner::watch::Vitals;
use crate::task::Snapshot;
use crate::telemetry::Tally;

/// A worker reports its state several times a second. After this silence, it is reported unhealthy.
const SILENT: Duration = Duration::from_secs(30);

/// The record of one worker.
#[derive(Debug)]
pub(super) struct Record(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The figures of the earlier processes, which have died.
    before: Tally,
    now: Tally,
    /// The deliveries that each loop has fetched of a limit, by the number of the loop. They are known even of a
    /// process that dies, because it claims them before it starts any of them.
    drawn: BTreeMap<u64, u64>,
    in_flight: usize,
    /// The number of transactions to process, if the process has reported it.
    total: Option<u64>,
    begun: bool,
    /// Whether an earlier process may have written output.
    wrote: bool,
    vitals: Vitals,
    /// The latest metrics of the process.
    metrics: Option<String>,
    faults: Vec<Fault>,
    ending: Option<Ending>,
    last_report: Instant,
    restarts: u64,
}

impl Record {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
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
            last_report: Instant::now(),
            restarts: 0,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a message of the process.
    pub(super) fn apply(&self, message: Message) {
        let mut state = self.state();
        state.last_report = Instant::now();
        match message {
            Message::Begun { total } => (state.begun, state.total) = (true, total),
            Message::Progress { tally, in_flight, vitals, metrics } => {
                (state.now, state.in_flight, state.vitals) = (*tally, in_flight, vitals);
                state.metrics = metrics;
            }
            Message::Claims { draw, claim } => {
                state.drawn.insert(draw, claim.taken);
            }
            Message::Draws { .. } | Message::Leaves { .. } => (),
            Message::Refused { faults } => state.faults = faults,
            Message::Ended(ending) => {
                state.now = ending.tally.clone();
                state.in_flight = 0;
                state.ending = Some(*ending);
            }
        }
    }

    /// Records that a process has ended. Only a process that reported why it could not start has certainly written
    /// nothing: the messages of another may have been lost with it.
    pub(super) fn has_run(&self) {
        let mut state = self.state();
        state.wrote |= state.faults.is_empty();
    }

    /// Whether the next process may find output that an earlier process wrote.
    pub(super) fn may_have_written(&self) -> bool {
        self.state().wrote
    }

    /// Records that another process replaces one that died.
    pub(super) fn replaced(&self) {
        let mut state = self.state();
        let dead = std::mem::take(&mut state.now);
        state.drawn.clear();
        state.before.add(&dead);
        // Abandoned threads end with their process.
        state.before.abandoned_threads = 0;
        state.vitals = Vitals::default();
        state.metrics = None;
        state.faults.clear();
        state.restarts += 1;
        state.last_report = Instant::now();
    }

    /// Records the end of the process. If it died, it has fetched what it claimed last. `exact` says that it claims all
    /// its fetches; otherwise it may have fetched more.
    pub(super) fn left(&self, exact: bool) {
        let mut state = self.state();
        state.in_flight = 0;
        if state.ending.is_none() {
            let drawn: u64 = state.drawn.values().sum();
            state.now.fetched = if exact { drawn } else { state.now.fetched.max(drawn) };
        }
    }

    /// Records that no process runs, although the work is not done.
    pub(super) fn vacant(&self) {
        let mut state = self.state();
        (state.begun, state.ending) = (false, None);
    }

    /// The latest metrics of the process.
    pub(super) fn metrics(&self) -> Option<String> {
        self.state().metrics.clone()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let state = self.state();
        let mut tally = state.before.clone();
        tally.add(&state.now);
        Snapshot { tally, in_flight: state.in_flight, undelivered: None }
    }

    /// The number of transactions to process, including those that earlier processes have processed.
    pub(super) fn total(&self) -> Option<u64> {
        let state = self.state();
        Some(state.before.processed + state.total?)
    }

    pub(super) fn ending(&self) -> Option<Ending> {
        self.state().ending.clone()
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        self.state().faults.clone()
    }

    pub(super) fn restarts(&self) -> u64 {
        self.state().restarts
    }

    /// The health of the worker, from its reports and from its silence.
    pub(super) fn vitals(&self) -> Vitals {
        let state = self.state();
        if state.ending.is_some() {
            return Vitals::default();
        }
        let silent = state.last_report.elapsed();
        let mut vitals = state.vitals.clone();
        if silent > SILENT && state.begun {
            vitals.unhealthy.get_or_insert(format!("no report for {} seconds", silent.as_secs()));
        }
        if !state.begun {
            vitals.unready = Some("starting".to_owned());
        }
        vitals
    }
}

/// The figures of all workers of a task together.
pub(super) fn merged<'r>(records: impl Iterator<Item = &'r Record>) -> Snapshot {
    let mut whole = Snapshot::default();
    let mut abandoned = 0;
    for record in records {
        let Snapshot { tally, in_flight, .. } = record.snapshot();
        abandoned += tally.abandoned_threads;
        whole.tally.add(&tally);
        whole.in_flight += in_flight;
    }
    // The loops of one process share their threads, so `add` keeps the larger number. Processes share none.
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
        records[0].apply(progress(5, 2, 1));
        records[0].replaced();
        records[0].apply(progress(3, 1, 1));
        records[1].apply(progress(10, 4, 2));
        let whole = merged(records.iter());
        assert_eq!((whole.tally.processed, whole.in_flight, whole.tally.abandoned_threads), (18, 5, 3));
        assert_eq!((records[0].restarts(), records[1].restarts()), (1, 0));
    }

    #[test]
    fn what_a_dead_worker_fetched_of_a_limit_is_what_it_said_last() {
        let fetched = |exact: bool| {
            let record = Record::new();
            let mut tally = Tally::default();
            // Five of them are requested, and have not come.
            tally.fetched = 9;
            let vitals = Vitals::default();
            record.apply(Message::Progress { tally: Box::new(tally), in_flight: 4, vitals, metrics: None });
            let claim = crate::task::Claim { taken: 4, ..crate::task::Claim::default() };
            record.apply(Message::Claims { draw: 0, claim });
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
        record.apply(Message::Refused { faults: vec![fault] });
        record.has_run();
        record.replaced();
        assert!(!record.may_have_written());
        record.has_run();
        record.replaced();
        assert!(record.may_have_written(), "it died without a word");
    }

    #[test]
    fn a_vacant_place_is_not_ready() {
        let record = Record::new();
        record.apply(Message::Begun { total: None });
        assert_eq!(record.vitals().unready, None);
        record.vacant();
        assert_eq!(record.vitals().unready.as_deref(), Some("starting"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_says_nothing_is_ill() {
        let record = Record::new();
        assert_eq!(record.vitals().unready.as_deref(), Some("starting"));
        record.apply(Message::Begun { total: Some(3) });
        assert_eq!((record.vitals(), record.total()), (Vitals::default(), Some(3)));
        tokio::time::advance(SILENT + Duration::from_secs(1)).await;
        assert_eq!(record.vitals().unhealthy.as_deref(), Some("no report for 31 seconds"));
    }
}
