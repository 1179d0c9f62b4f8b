//! Checks the invariants of a run from its log alone. Each invariant has its own message.

use std::time::Duration;

use ergon::connector::{Disposition, ItemOutcome};
use ergon::policy::Mode;
use ergon::telemetry::Step;

use super::books::{Books, Delivery, Lived, Settled};
use super::event::{End, Entry, Event, How, Life, Summary};
use super::plan::Plan;

/// The broken invariant of a run, and the place in the log.
pub type Broken = String;

/// The tolerance of a time limit in ms: the granularity of the timer.
const SLACK: u64 = 5;

/// Checks the log of a run from its beginning to its end.
///
/// # Errors
/// The first invariant that does not hold.
pub fn check(plan: &Plan, log: &[Entry]) -> Result<(), Broken> {
    let mut checker = Checker { plan, books: Books::default() };
    for (index, entry) in log.iter().enumerate() {
        checker.take(index, entry)?;
    }
    let summary = log.iter().rev().find_map(|entry| match &entry.event {
        Event::Over(summary) => Some(*summary),
        _ => None,
    });
    let Some(summary) = summary else { return Err("the run does not end".to_owned()) };
    checker.every_delivery_is_settled()?;
    checker.no_conflict()?;
    checker.lives_do_not_overlap()?;
    checker.the_summary_is_true(&summary)
}

struct Checker<'a> {
    plan: &'a Plan,
    books: Books,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn ensure(holds: bool, broken: impl FnOnce() -> Broken) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(broken()) }
}

impl Checker<'_> {
    fn take(&mut self, index: usize, entry: &Entry) -> Result<(), Broken> {
        let limit = self.plan.policy.timeout.map(millis).filter(|limit| entry.at >= *limit);
        if let Some(limit) = limit {
            self.books.stop(limit);
        }
        match &entry.event {
            Event::HandedOut { delivery, transaction, id, deliveries } => {
                let (transaction, id, deliveries) = (*transaction, *id, *deliveries);
                let known = Delivery { transaction, id, deliveries, settled: None };
                self.books.deliveries.insert(*delivery, known);
                self.limit_holds()
            }
            Event::Asked(_) => self.asked(entry.at),
            Event::Begun(life, step) => self.begun(index, entry.at, *life, *step),
            Event::Ended(life, step, how) => self.ended(index, entry.at, (*life, *step), *how),
            Event::Letter(life, fate) => self.letter(index, *life, *fate),
            Event::Settled { delivery, genuine, disposition, applied, told } => {
                let settled = Settled { disposition: *disposition, applied: *applied, told: *told };
                self.settled(*delivery, *genuine, settled)
            }
            Event::FetchFailed => {
                self.books.fetch_failed = true;
                Ok(())
            }
            Event::Stopped => {
                self.books.stop(entry.at);
                Ok(())
            }
            Event::Fault(_) | Event::Empty | Event::Over(_) => Ok(()),
        }
    }

    fn asked(&self, at: u64) -> Result<(), Broken> {
        let policy = &self.plan.policy;
        ensure(policy.limit != Some(0), || "a limit of 0 fetches".to_owned())?;
        ensure(!self.books.stopped_before(at), || "fetched after the stop".to_owned())?;
        // A delivery that waits for the dead-letter connector is no longer part of the batch, because it may wait for a
        // long time.
        let in_batch = |(number, delivery): (&u64, &Delivery)| {
            delivery.settled.is_none() && !self.books.is_dead_letter(policy, *number)
        };
        let begun = self.books.deliveries.iter().any(in_batch);
        ensure(policy.mode == Mode::Continuous || !begun, || "fetched before the batch was over".to_owned())
    }

    fn limit_holds(&self) -> Result<(), Broken> {
        let (fetched, limit) = (self.books.deliveries.len() as u64, self.plan.policy.limit);
        ensure(limit.is_none_or(|limit| fetched <= limit), || {
            format!("limit exceeded: {fetched} deliveries were fetched of {limit:?}")
        })
    }

    fn begun(&mut self, index: usize, at: u64, life: Life, step: Step) -> Result<(), Broken> {
        let policy = &self.plan.policy;
        let Some(delivery) = self.books.deliveries.get(&life.delivery) else {
            return Err(format!("{step} of {life} begins, which was not handed out"));
        };
        ensure(delivery.settled.is_none(), || format!("{step} of {life} begins after it was settled"))?;
        ensure(life.round <= policy.max_deliveries, || {
            format!("poison processed: {life} is beyond max_deliveries = {}", policy.max_deliveries)
        })?;
        self.books.running += 1;
        let running = self.books.running;
        ensure(running <= policy.concurrency, || {
            format!("concurrency exceeded: {running} handlers run of {}", policy.concurrency)
        })?;
        let grace = self.books.stopped.map(|stop| stop + millis(policy.shutdown_grace));
        ensure(grace.is_none_or(|end| at <= end + SLACK), || {
            format!("{step} of {life} begins after the grace of the stop")
        })?;
        let begins = !self.books.lives.contains_key(&life);
        ensure(!begins || !self.books.stopped_before(at), || format!("{life} begins after the stop"))?;
        let due = self.books.held_until(life);
        ensure(!begins || due.is_none_or(|due| due <= at), || {
            format!("{life} is tried again before its time")
        })?;
        let decodes = self.plan.transactions.get(delivery.transaction).is_none_or(|planned| planned.decodes);
        let new = Lived { span: (index, index), began: at, ..Lived::default() };
        let lived = self.books.lives.entry(life).or_insert(new);
        ensure(lived.open.is_none(), || format!("two handlers of {life} run at once"))?;
        lived.may_begin(step, decodes).map_err(|why| format!("{step} of {life} begins, although {why}"))?;
        lived.open = Some((step, at));
        lived.span.1 = index;
        let most = match step {
            Step::Process | Step::Prepare => policy.process.max_attempts,
            Step::Success => policy.success.max_attempts,
            Step::Exception => policy.exception.max_attempts,
        };
        let handler = lived.step_mut(step);
        handler.attempts += 1;
        ensure(handler.attempts <= most, || {
            format!("too many attempts: {step} of {life}, {most} are allowed")
        })
    }

    fn ended(&mut self, index: usize, at: u64, of: (Life, Step), how: How) -> Result<(), Broken> {
        let (life, step) = of;
        let policy = &self.plan.policy;
        let Some(lived) = self.books.lives.get_mut(&life) else {
            return Err(format!("{step} of {life} ends and was not begun"));
        };
        let Some((_, since)) = lived.open.take().filter(|(open, _)| *open == step) else {
            return Err(format!("{step} of {life} completed twice, or was not begun"));
        };
        self.books.running = self.books.running.saturating_sub(1);
        lived.span.1 = index;
        lived.step_mut(step).last = Some(how);
        lived.ended = at;
        let (limit, whole) = match step {
            Step::Process | Step::Prepare => (policy.process.timeout, policy.transaction_timeout),
            Step::Success => (policy.success.timeout, policy.transaction_timeout),
            Step::Exception => (policy.exception.timeout, None),
        };
        let within = |limit: Option<Duration>, since: u64| {
            limit.is_none_or(|limit| {
                u128::from(at.saturating_sub(since)) <= limit.as_millis() + u128::from(SLACK)
            })
        };
        ensure(within(limit, since), || format!("the attempt's time limit is exceeded: {step} of {life}"))?;
        let began = lived.began;
        ensure(within(whole, began), || format!("the transaction's time limit is exceeded: {step} of {life}"))
    }

    fn letter(&mut self, index: usize, life: Life, fate: ItemOutcome) -> Result<(), Broken> {
        let new = Lived { span: (index, index), ..Lived::default() };
        // A dead letter that is dispatched again takes no slot, so it does not lengthen the life.
        let lived = self.books.lives.entry(life).or_insert(new);
        ensure(!lived.succeeded(), || format!("conflict: {life} succeeded and is dead-lettered"))?;
        ensure(!lived.letter, || format!("{life} is dead-lettered twice"))?;
        lived.letter = fate == ItemOutcome::Done;
        lived.letters_tried = true;
        self.books.letter_failed |= fate != ItemOutcome::Done;
        Ok(())
    }

    fn settled(&mut self, number: u64, genuine: bool, settled: Settled) -> Result<(), Broken> {
        let Some(delivery) = self.books.deliveries.get(&number) else {
            return Err(format!("a receipt that was never handed out is settled: #{number}"));
        };
        ensure(delivery.settled.is_none(), || format!("settled twice: #{number}"))?;
        ensure(genuine, || format!("settled with the receipt of another delivery: #{number}"))?;
        let open = self.books.last_life(number).is_some_and(|(_, lived)| lived.open.is_some());
        ensure(!open, || format!("settled while a handler runs: #{number}"))?;
        let disposition = settled.disposition;
        self.books.note_failure(&self.plan.policy, number, disposition);
        if let Some(why) = self.books.unjustified(&self.plan.policy, number, disposition) {
            return Err(format!("#{number} ({disposition:?}): {why}"));
        }
        if let Some(delivery) = self.books.deliveries.get_mut(&number) {
            delivery.settled = Some(settled);
        }
        Ok(())
    }

    fn every_delivery_is_settled(&self) -> Result<(), Broken> {
        let lost = self.books.deliveries.iter().find(|(_, delivery)| delivery.settled.is_none());
        match lost {
            Some((number, delivery)) => Err(format!(
                "lost: #{number} of transaction {} was handed out and never settled",
                delivery.transaction
            )),
            None => Ok(()),
        }
    }

    /// Checks that no transaction is both acknowledged and rejected, as far as the source applied its settlements.
    fn no_conflict(&self) -> Result<(), Broken> {
        let mut done = Vec::new();
        let mut refused = Vec::new();
        for (number, delivery) in &self.books.deliveries {
            let Some(settled) = delivery.settled.filter(|settled| settled.applied) else { continue };
            let life = self.books.last_life(*number).map(|(_, lived)| lived);
            match settled.disposition {
                Disposition::Ack if life.is_some_and(|life| life.letter) => {
                    refused.push(delivery.transaction);
                }
                Disposition::Ack => done.push(delivery.transaction),
                Disposition::Reject => refused.push(delivery.transaction),
                Disposition::Requeue | Disposition::RetryAfter(_) => (),
            }
        }
        match done.iter().find(|transaction| refused.contains(transaction)) {
            Some(both) => Err(format!("conflict: transaction {both} was done and refused")),
            None => Ok(()),
        }
    }

    /// Checks that at most `concurrency` lives run at the same time, including waits between attempts, and no two lives
    /// of one id.
    fn lives_do_not_overlap(&self) -> Result<(), Broken> {
        let id = |life: &Life| self.books.deliveries.get(&life.delivery).map(|delivery| delivery.id);
        // A life without handlers is poison. Its dead letter may be dispatched apart from the slots.
        let in_slots = self.books.lives.iter().filter(|(_, lived)| lived.has_handlers());
        let mut lives: Vec<_> = in_slots.map(|(life, lived)| (lived.span, life)).collect();
        lives.sort_unstable();
        let mut open: Vec<((usize, usize), &Life)> = Vec::new();
        for (span, life) in lives {
            open.retain(|((_, until), _)| *until > span.0);
            if let Some((_, other)) = open.iter().find(|(_, other)| id(other) == id(life)) {
                return Err(format!("the same id is in process twice at once: {other} and {life}"));
            }
            open.push((span, life));
            ensure(open.len() <= self.plan.policy.concurrency, || {
                format!("concurrency exceeded: {} transactions are in process at {life}", open.len())
            })?;
        }
        Ok(())
    }

    fn the_summary_is_true(&self, summary: &Summary) -> Result<(), Broken> {
        let count = |which: &dyn Fn(&Settled, Option<&Lived>) -> bool| {
            let settled = self.books.deliveries.iter().filter(|(number, delivery)| {
                let life = self.books.last_life(**number).map(|(_, lived)| lived);
                delivery.settled.as_ref().is_some_and(|settled| which(settled, life))
            });
            settled.count() as u64
        };
        let told = |settled: &Settled| settled.told == ItemOutcome::Done;
        let succeeded = |life: Option<&Lived>| life.is_some_and(Lived::succeeded);
        let lettered = |life: Option<&Lived>| life.is_some_and(|life| life.letter);
        let figures = [
            ("fetched", summary.fetched, self.books.deliveries.len() as u64),
            ("succeeded", summary.succeeded, count(&|settled, life| told(settled) && succeeded(life))),
            ("dead_lettered", summary.dead_lettered, count(&|_, life| lettered(life))),
            ("unknown", summary.unknown, count(&|settled, _| !told(settled))),
        ];
        for (name, said, counted) in figures {
            ensure(said == counted, || format!("the summary says {name}: {said}, but it was {counted}"))?;
        }
        if let Some(why) = self.books.only_if_failed.filter(|_| summary.end != End::Failed) {
            return Err(format!("{why}, and the run did not fail"));
        }
        let emptied = summary.end != End::SourceEmpty || summary.left == 0;
        ensure(emptied, || format!("ended with {} transactions that could be fetched", summary.left))?;
        let ended_early = summary.end == End::SourceEmpty && self.plan.policy.streaming;
        ensure(!ended_early, || "a streaming run ended by itself".to_owned())
    }
}
