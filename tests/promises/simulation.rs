//! Tests that simulated runs keep every invariant, and that the checker detects a violation of each invariant.

use std::time::Duration;

use ergon::connector::Disposition::{Ack, Reject, Requeue, RetryAfter};
use ergon::connector::{Disposition, ItemOutcome};
use ergon::policy::{Mode, RetryPolicy};
use ergon::telemetry::Step::{Exception, Process, Success};
use ergon::transaction::Category;
use ergon_tests::simulation::check::check;
use ergon_tests::simulation::event::{End, Entry, Event, How, Life, Summary};
use ergon_tests::simulation::{Plan, drive, play_twice};

#[test]
fn three_hundred_seeds_hold_every_invariant() {
    let totals = drive(0..300, 2).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(totals.seeds, 300);
    assert!(totals.transactions > 3_000 && totals.faults > 300, "{totals:?}");
}

#[test]
fn a_seed_played_twice_gives_the_same_log() {
    for seed in 1_000..1_040 {
        assert_eq!(play_twice(seed).broken, None, "seed {seed}");
    }
}

/// A log made by hand: every event a millisecond after the one before.
#[derive(Default)]
struct Log(Vec<Entry>);

fn life(delivery: u64) -> Life {
    Life { delivery, round: 1 }
}

impl Log {
    fn then(mut self, event: Event) -> Self {
        let at = self.0.len() as u64;
        self.0.push(Entry { at, event });
        self
    }

    /// Delivers the transaction whose number is the delivery's number minus one.
    fn out(self, delivery: u64) -> Self {
        self.out_of(delivery, usize::try_from(delivery).unwrap() - 1, 1)
    }

    fn out_of(self, delivery: u64, transaction: usize, deliveries: u32) -> Self {
        self.then(Event::HandedOut { delivery, transaction, id: transaction, deliveries })
    }

    fn step(self, delivery: u64, step: ergon::telemetry::Step, how: How) -> Self {
        self.then(Event::Begun(life(delivery), step)).then(Event::Ended(life(delivery), step, how))
    }

    fn succeeds(self, delivery: u64) -> Self {
        self.step(delivery, Process, How::Completed).step(delivery, Success, How::Completed)
    }

    fn decides(self, delivery: u64, disposition: Disposition) -> Self {
        let failed = self.step(delivery, Process, How::Failed(Category::Business));
        failed.step(delivery, Exception, How::Decided(disposition))
    }

    fn letter(self, delivery: u64, fate: ItemOutcome) -> Self {
        self.then(Event::Letter(life(delivery), fate))
    }

    fn settle(self, delivery: u64, disposition: Disposition) -> Self {
        self.settled(delivery, disposition, true, ItemOutcome::Done)
    }

    fn settled(self, delivery: u64, disposition: Disposition, applied: bool, told: ItemOutcome) -> Self {
        self.then(Event::Settled { delivery, genuine: true, disposition, applied, told })
    }

    /// Ends the log with a summary of this many deliveries and successes.
    fn over(self, fetched: u64, succeeded: u64) -> Self {
        let (end, dead_lettered, unknown, left) = (End::SourceEmpty, 0, 0, 0);
        self.then(Event::Over(Summary { end, fetched, succeeded, dead_lettered, unknown, left }))
    }

    fn holds(self, plan: &Plan) {
        check(plan, &self.0).unwrap_or_else(|broken| panic!("{broken}"));
    }

    /// Asserts that the checker rejects this log, with a message that starts like this.
    fn breaks(self, plan: &Plan, words: &str) {
        let broken = check(plan, &self.0).unwrap_err();
        assert!(broken.contains(words), "{broken}");
    }
}

/// The summary of a run that fetched and dead-lettered one transaction.
fn lettered() -> Summary {
    Summary { end: End::SourceEmpty, fetched: 1, succeeded: 0, dead_lettered: 1, unknown: 0, left: 0 }
}

fn plan() -> Plan {
    Plan::plain(3)
}

fn with(change: impl FnOnce(&mut ergon::policy::ConsumerPolicy)) -> Plan {
    let mut plan = plan();
    change(&mut plan.policy);
    plan
}

#[test]
fn runs_as_they_should_be_hold() {
    Log::default().over(0, 0).holds(&plan());
    Log::default().out(1).succeeds(1).settle(1, Ack).over(1, 1).holds(&plan());
    Log::default().out(1).decides(1, Ack).settle(1, Ack).over(1, 0).holds(&plan());
    Log::default().out(1).decides(1, Reject).settle(1, Reject).over(1, 0).holds(&plan());
    let again = Log::default().out(1).decides(1, Requeue).settle(1, Requeue).out_of(2, 0, 2);
    let second = Life { delivery: 2, round: 2 };
    let again = again.then(Event::Begun(second, Process));
    let again = again.then(Event::Ended(second, Process, How::Completed)).then(Event::Begun(second, Success));
    again.then(Event::Ended(second, Success, How::Completed)).settle(2, Ack).over(2, 1).holds(&plan());
}

#[test]
fn what_is_lost_is_seen() {
    Log::default().out(1).over(1, 0).breaks(&plan(), "lost: #1 of transaction 0");
    Log::default().out(1).out(2).succeeds(1).settle(1, Ack).over(2, 1).breaks(&plan(), "lost: #2");
}

#[test]
fn a_run_without_an_end_is_seen() {
    Log::default().breaks(&plan(), "the run does not end");
}

#[test]
fn a_receipt_used_wrongly_is_seen() {
    let done = || Log::default().out(1).succeeds(1).settle(1, Ack);
    done().settle(1, Ack).over(1, 1).breaks(&plan(), "settled twice: #1");
    done().settle(2, Ack).over(1, 1).breaks(&plan(), "never handed out");
    let foreign = Event::Settled {
        delivery: 1,
        genuine: false,
        disposition: Ack,
        applied: true,
        told: ItemOutcome::Done,
    };
    let log = Log::default().out(1).succeeds(1).then(foreign).over(1, 1);
    log.breaks(&plan(), "the receipt of another delivery");
}

#[test]
fn an_ack_without_a_reason_is_seen() {
    let words = "acked before success";
    Log::default().out(1).settle(1, Ack).over(1, 0).breaks(&plan(), words);
    Log::default().out(1).step(1, Process, How::Completed).settle(1, Ack).over(1, 0).breaks(&plan(), words);
    Log::default().out(1).decides(1, Reject).settle(1, Ack).over(1, 0).breaks(&plan(), words);
    let named = with(|policy| policy.dead_letter = Some("letters".into()));
    let failed = Log::default().out(1).decides(1, Reject).letter(1, ItemOutcome::NotDone);
    failed.settle(1, Ack).over(1, 0).breaks(&named, words);
}

#[test]
fn a_settlement_other_than_decided_is_seen() {
    let decided = |disposition| Log::default().out(1).decides(1, disposition);
    Log::default().out(1).succeeds(1).settle(1, Reject).over(1, 0).breaks(&plan(), "rejected without");
    Log::default().out(1).succeeds(1).settle(1, Requeue).over(1, 0).breaks(&plan(), "after it had succeeded");
    decided(Ack).settle(1, Requeue).over(1, 0).breaks(&plan(), "decided to ack");
    decided(Reject).settle(1, Requeue).over(1, 0).breaks(&plan(), "it was rejected");
    decided(Requeue).settle(1, Reject).over(1, 0).breaks(&plan(), "rejected without");
    let later = RetryAfter(Duration::from_secs(1));
    decided(later).settle(1, later).over(1, 0).breaks(&plan(), "no stop asked for it");
    decided(later).settle(1, Requeue).over(1, 0).breaks(&plan(), "before its time");
    let named = with(|policy| policy.dead_letter = Some("letters".into()));
    decided(Reject).settle(1, Reject).over(1, 0).breaks(&named, "a dead-letter connector is named");
    let lettered = decided(Reject).letter(1, ItemOutcome::Done).settle(1, Requeue).over(1, 0);
    lettered.breaks(&named, "the dead-letter connector has it");
}

#[test]
fn what_is_given_up_without_a_stop_is_seen() {
    let fetched = || Log::default().out(1);
    fetched().settle(1, Requeue).over(1, 0).breaks(&plan(), "without having been begun");
    let begun = || fetched().step(1, Process, How::Cancelled);
    begun().settle(1, Requeue).over(1, 0).breaks(&plan(), "without a stop");
    begun().then(Event::Stopped).settle(1, Requeue).over(1, 0).holds(&plan());
}

#[test]
fn what_waits_for_the_dead_letter_connector_is_given_back_when_the_run_fails_or_stops_and_not_before() {
    let named = with(|policy| policy.dead_letter = Some("letters".into()));
    let waits = || Log::default().out(1).decides(1, Reject).letter(1, ItemOutcome::NotDone);
    waits().settle(1, Requeue).over(1, 0).breaks(&named, "it was rejected, and the run did not fail");
    waits().then(Event::Stopped).settle(1, Requeue).over(1, 0).holds(&named);
    let (end, fetched) = (End::Failed, 1);
    let failed = Summary { end, fetched, succeeded: 0, dead_lettered: 0, unknown: 0, left: 0 };
    waits().settle(1, Requeue).then(Event::Over(failed)).holds(&named);
    // The run may fail because of a dead letter, but deliveries that were not started are processed all the same.
    let rest = || waits().out(2).settle(2, Requeue).settle(1, Requeue);
    let failed = Summary { fetched: 2, ..failed };
    rest().then(Event::Over(failed)).breaks(&named, "without having been begun");
}

/// Seeds that once broke an invariant: a run that was about to fail, because the dead-letter connector did not accept a
/// transaction, gave back deliveries that were not started or that were held.
#[test]
fn a_dead_letter_that_is_not_taken_ends_no_run_before_its_work_is_done() {
    for seed in [99_596, 432_363, 556_284, 301_079] {
        assert_eq!(play_twice(seed).broken, None, "seed {seed}");
    }
}

#[test]
fn a_second_outcome_is_seen() {
    let done = || Log::default().out(1).succeeds(1);
    done().step(1, Exception, How::Decided(Ack)).breaks(&plan(), "the success handler completed before");
    done().step(1, Success, How::Completed).breaks(&plan(), "it completed before");
    let decided = Log::default().out(1).decides(1, Reject);
    decided.step(1, Exception, How::Decided(Ack)).breaks(&plan(), "the exception handler completed before");
    let twice = done().then(Event::Ended(life(1), Success, How::Completed));
    twice.breaks(&plan(), "completed twice");
    Log::default().out(1).step(1, Success, How::Completed).breaks(&plan(), "process did not complete");
    Log::default().out(1).step(1, Exception, How::Decided(Ack)).breaks(&plan(), "nothing failed");
}

#[test]
fn a_conflict_is_seen() {
    let named = with(|policy| policy.dead_letter = Some("letters".into()));
    Log::default().out(1).succeeds(1).letter(1, ItemOutcome::Done).breaks(&named, "conflict: #1");
    let refused = Log::default().out(1).decides(1, Reject).settle(1, Reject);
    let again = refused.out_of(2, 0, 1).succeeds(2).settle(2, Ack).over(2, 1);
    again.breaks(&plan(), "conflict: transaction 0");
}

#[test]
fn too_many_at_once_are_seen() {
    let one = with(|policy| policy.concurrency = 1);
    let begun = |delivery| Event::Begun(life(delivery), Process);
    Log::default().out(1).out(2).then(begun(1)).then(begun(2)).breaks(&one, "2 handlers run of 1");
    let between = Log::default().out(1).out(2).step(1, Process, How::Completed).succeeds(2);
    let between = between.step(1, Success, How::Completed).settle(1, Ack).settle(2, Ack).over(2, 2);
    between.breaks(&one, "2 transactions are in process");
    Log::default().out(1).then(begun(1)).then(begun(1)).breaks(&plan(), "run at once");
}

#[test]
fn the_same_id_twice_at_once_is_seen() {
    let twin = Event::HandedOut { delivery: 2, transaction: 1, id: 0, deliveries: 1 };
    let both = Log::default().out(1).then(twin).step(1, Process, How::Completed).succeeds(2);
    let both = both.step(1, Success, How::Completed).settle(1, Ack).settle(2, Ack).over(2, 2);
    both.breaks(&plan(), "the same id is in process twice");
}

#[test]
fn an_exceeded_limit_is_seen() {
    let one = with(|policy| policy.limit = Some(1));
    Log::default().out(1).out(2).breaks(&one, "limit exceeded: 2");
    let none = with(|policy| policy.limit = Some(0));
    Log::default().then(Event::Asked(1)).breaks(&none, "a limit of 0 fetches");
}

#[test]
fn a_retry_that_is_not_allowed_is_seen() {
    let twice = with(|policy| policy.process.max_attempts = 2);
    let failed = |log: Log, category| log.step(1, Process, How::Failed(category));
    let business = failed(Log::default().out(1), Category::Business);
    failed(business, Category::System).breaks(&twice, "a business error is not retried");
    let system = || failed(Log::default().out(1), Category::System);
    failed(system(), Category::System).step(1, Process, How::Completed).breaks(&twice, "too many attempts");
    let used_up = failed(system(), Category::System).step(1, Exception, How::Decided(Ack));
    used_up.settle(1, Ack).over(1, 0).holds(&twice);
    let poison = Log::default().out_of(1, 0, 21).then(Event::Begun(Life { delivery: 1, round: 21 }, Process));
    poison.breaks(&plan(), "poison processed");
}

#[test]
fn an_exceeded_time_limit_is_seen() {
    let limit = Some(Duration::from_millis(10));
    let late = || {
        let mut log = Log::default().out(1).then(Event::Begun(life(1), Process));
        let event = Event::Ended(life(1), Process, How::Cancelled);
        log.0.push(Entry { at: 40, event });
        log
    };
    let step = with(|policy| policy.process = RetryPolicy { timeout: limit, ..RetryPolicy::DEFAULT });
    late().breaks(&step, "the attempt's time limit");
    late().breaks(&with(|policy| policy.transaction_timeout = limit), "the transaction's time limit");
}

#[test]
fn a_try_before_its_time_is_seen() {
    let wait = RetryAfter(Duration::from_millis(50));
    let held = Log::default().out(1).decides(1, wait);
    held.then(Event::Begun(Life { delivery: 1, round: 2 }, Process)).breaks(&plan(), "before its time");
}

#[test]
fn what_begins_after_a_stop_is_seen() {
    let stopped = || Log::default().out(1).then(Event::Stopped).then(Event::Empty);
    stopped().then(Event::Asked(1)).breaks(&plan(), "fetched after the stop");
    stopped().then(Event::Begun(life(1), Process)).breaks(&plan(), "begins after the stop");
    let mut late = Log::default().out(1).step(1, Process, How::Completed).then(Event::Stopped);
    late.0.push(Entry { at: 90, event: Event::Begun(life(1), Success) });
    let short = with(|policy| policy.shutdown_grace = Duration::from_millis(20));
    late.breaks(&short, "after the grace of the stop");
}

#[test]
fn a_batch_that_does_not_wait_for_the_one_before_is_seen() {
    let batches = with(|policy| {
        policy.mode = Mode::Batch;
        policy.dead_letter = Some("letters".into());
    });
    Log::default().out(1).then(Event::Asked(1)).breaks(&batches, "before the batch was over");
    let waits =
        Log::default().out(1).decides(1, Reject).letter(1, ItemOutcome::NotDone).then(Event::Asked(1));
    waits.letter(1, ItemOutcome::Done).settle(1, Ack).then(Event::Over(lettered())).holds(&batches);
}

#[test]
fn what_is_given_back_because_the_run_fails_is_seen_if_it_does_not_fail() {
    let failing = || Log::default().out(1).then(Event::FetchFailed).settle(1, Requeue);
    failing().over(1, 0).breaks(&plan(), "and the run did not fail");
    let (end, fetched) = (End::Failed, 1);
    let failed = Summary { end, fetched, succeeded: 0, dead_lettered: 0, unknown: 0, left: 0 };
    failing().then(Event::Over(failed)).holds(&plan());
}

#[test]
fn a_handler_beside_its_settlement_is_seen() {
    let begun = || Log::default().out(1).then(Event::Begun(life(1), Process));
    begun().settle(1, Requeue).breaks(&plan(), "settled while a handler runs");
    let after = Log::default().out(1).succeeds(1).settle(1, Ack).then(Event::Begun(life(1), Process));
    after.breaks(&plan(), "after it was settled");
}

#[test]
fn a_summary_that_says_something_else_is_seen() {
    let done = || Log::default().out(1).succeeds(1);
    done().settle(1, Ack).over(2, 1).breaks(&plan(), "the summary says fetched: 2");
    done().settle(1, Ack).over(1, 0).breaks(&plan(), "the summary says succeeded: 0");
    // A dead letter that was written counts, even if the source did not confirm its settlement.
    let named = with(|policy| policy.dead_letter = Some("letters".into()));
    let unknown = Log::default().out(1).decides(1, Reject).letter(1, ItemOutcome::Done);
    let unknown = unknown.settled(1, Ack, false, ItemOutcome::Unknown);
    unknown.over(1, 0).breaks(&named, "the summary says dead_lettered: 0, but it was 1");
    let unknown = done().settled(1, Ack, true, ItemOutcome::Unknown).over(1, 1);
    unknown.breaks(&plan(), "the summary says succeeded: 1, but it was 0");
    let mut left =
        Summary { end: End::SourceEmpty, fetched: 0, succeeded: 0, dead_lettered: 0, unknown: 0, left: 1 };
    Log::default().then(Event::Over(left)).breaks(&plan(), "1 transactions that could be fetched");
    left.left = 0;
    let streaming = with(|policy| policy.streaming = true);
    Log::default().then(Event::Over(left)).breaks(&streaming, "a streaming run ended by itself");
}
