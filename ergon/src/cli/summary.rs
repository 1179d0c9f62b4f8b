//! Summarizes a run, as sentences and as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::humanize::{self, one_line};
use crate::error::{Error, ErrorKind};
use crate::runner::{Finished, Outcome, Supervised};
use crate::settings::Breach;
use crate::telemetry::{Ended, RunReport, Step, Tally};

/// The number of rejected transactions that the sentences name.
const NAMED: usize = 5;
/// The number of reasons in the JSON object.
const REASONS: usize = 5;

/// The place of the transactions that a task rejects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// In no connector: only the summary names them.
    Nowhere,
    /// In a connector that no command of this program can read.
    OutOfSight,
    /// In a connector that `dead-letters` can read.
    InSight,
}

/// The summary of one run as sentences.
pub(crate) fn text(finished: &Finished, kept: Kept) -> String {
    let RunReport { task, tally, elapsed, ended } = &finished.report;
    let (processed, end) = (counted(tally.processed, "transaction"), end(ended, tally));
    let (took, rate) = (humanize::time(*elapsed), humanize::rate(tally.processed, *elapsed));
    let mut text = format!("{task}: {processed} processed in {took} ({rate}). {end}\n");
    let breaches = finished.breaches.iter().map(|breach| format!("{}.", holds(breach)));
    let lines = [outcomes(tally)].into_iter().chain(rejected(tally, kept)).chain(other_figures(tally));
    for line in lines.chain(breaches).chain(finished.supervised.map(supervised)) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {line}");
    }
    times(tally, &mut text);
    if kept == Kept::Nowhere {
        rejections(tally, &mut text);
    }
    most_frequent_reason(task, tally, kept, &mut text);
    text
}

/// Why a run ended, as a sentence.
fn end(ended: &Ended, tally: &Tally) -> String {
    match ended {
        Ended::SourceEmpty => "The source is empty.".to_owned(),
        Ended::LimitReached => "The limit is reached.".to_owned(),
        // The deliveries that were given back have their own sentence. The stream of a producer may have yielded more.
        Ended::Stopped { given_back } if *given_back > tally.given_back => {
            format!("The run was stopped with {} left to do.", counted(*given_back, "transaction"))
        }
        Ended::Stopped { .. } => "The run was stopped.".to_owned(),
        Ended::TimeLimit => "The time limit of the run is over.".to_owned(),
        Ended::Finished => "The task's `execute` returned.".to_owned(),
        Ended::Failed(error) => format!("The run failed: {}.", one_line(&error.to_string())),
    }
}

/// `1,204 transactions`, `1 transaction`
fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", humanize::count(count), if count == 1 { "" } else { "s" })
}

/// `3 were`, `1 was`
fn were(count: u64) -> String {
    format!("{} {}", humanize::count(count), if count == 1 { "was" } else { "were" })
}

/// `9,138 succeeded, 856 failed (850 business errors, 6 timeouts).`
fn outcomes(tally: &Tally) -> String {
    let (succeeded, failed) = (humanize::count(tally.succeeded), tally.failed);
    if failed.total() == 0 {
        return format!("{succeeded} succeeded.");
    }
    let categories =
        [(failed.business, "business error"), (failed.system, "system error"), (failed.timeout, "timeout")];
    let categories = categories.into_iter().filter(|(count, _)| *count > 0);
    let categories: Vec<String> = categories.map(|(count, noun)| counted(count, noun)).collect();
    let total = humanize::count(failed.total());
    format!("{succeeded} succeeded, {total} failed ({}).", categories.join(", "))
}

/// `856 were rejected and dead-lettered.`
fn rejected(tally: &Tally, kept: Kept) -> Vec<String> {
    let (rejected, dead_lettered) = (tally.rejected, tally.dead_lettered);
    let dead_letters = || format!("{} dead-lettered.", were(dead_lettered));
    match (rejected, dead_lettered) {
        (0, 0) => Vec::new(),
        (0, _) => vec![dead_letters()],
        (_, 0) if kept == Kept::Nowhere => {
            vec![format!("{} rejected. No dead-letter connector is configured.", were(rejected))]
        }
        (_, 0) => vec![format!("{} rejected.", were(rejected))],
        _ if rejected == dead_lettered => vec![format!("{} rejected and dead-lettered.", were(rejected))],
        _ => vec![format!("{} rejected.", were(rejected)), dead_letters()],
    }
}

/// A sentence for each of the other figures that is not zero.
fn other_figures(tally: &Tally) -> Vec<String> {
    let unprocessed = tally.given_back.saturating_sub(tally.undelivered);
    let sentences = [
        (
            tally.handler_failures,
            "The exception handler failed for 1 transaction.",
            "The exception handler failed for {} transactions.",
        ),
        (
            tally.undelivered,
            "1 dead letter could not be delivered: its transaction was given back to the source.",
            "{} dead letters could not be delivered: their transactions were given back to the source.",
        ),
        (tally.requeued, "1 was requeued.", "{} were requeued."),
        (unprocessed, "1 was given back to the source.", "{} were given back to the source."),
        (
            tally.unknown,
            "1 settlement is unknown: the source may deliver the transaction again.",
            "{} settlements are unknown: the source may deliver the transactions again.",
        ),
        (tally.retries, "1 retry.", "{} retries."),
        (tally.call_retries, "1 retry of a call.", "{} retries of calls."),
        (tally.produced, "1 outbound transaction was produced.", "{} outbound transactions were produced."),
        (
            tally.abandoned_threads,
            "1 thread is abandoned: its handler has not returned.",
            "{} threads are abandoned: their handlers have not returned.",
        ),
    ];
    let sentence = |(figure, one, more): (u64, &str, &str)| match figure {
        0 => None,
        1 => Some(one.to_owned()),
        figure => Some(more.replacen("{}", &humanize::count(figure), 1)),
    };
    sentences.into_iter().filter_map(sentence).collect()
}

/// ``The `fail_when` condition `rejected > 5%` holds: 856 of 9,994 (8.56%)``
fn holds(breach: &Breach) -> String {
    let Breach { condition, count, processed, is_share } = breach;
    let (count, of) = (humanize::count(*count), humanize::count(*processed));
    let figures = if *is_share {
        format!("{count} of {of} ({})", humanize::share(breach.count, *processed))
    } else {
        count
    };
    format!("The `fail_when` condition `{condition}` holds: {figures}")
}

/// The error of a run, or of all runs together, for which a condition of `fail_when` holds.
pub(crate) fn breached(breach: &Breach, task: Option<&str>) -> Error {
    let whose = task.map_or_else(|| "all tasks together".to_owned(), |task| format!("task `{task}`"));
    Error::new(ErrorKind::Task, format!("{whose}: {}", holds(breach).replacen('T', "t", 1)))
}

/// `4 workers, 1 restart.`
fn supervised(supervised: Supervised) -> String {
    let Supervised { workers, restarts } = supervised;
    let workers = counted(workers as u64, "worker");
    match restarts {
        0 => format!("{workers}."),
        restarts => format!("{workers}, {}.", counted(restarts, "restart")),
    }
}

/// A table of the steps' times, without the steps that never ran.
fn times(tally: &Tally, text: &mut String) {
    let rows: Vec<_> = Step::ALL.into_iter().filter(|step| tally.times(*step).count() > 0).collect();
    if rows.is_empty() {
        return;
    }
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {:<10}{:>10}{:>9}{:>9}{:>9}{:>9}", "step", "count", "p50", "p95", "p99", "max");
    for step in rows {
        let times = tally.times(step);
        let _ = write!(text, "  {:<10}{:>10}", step.as_str(), humanize::count(times.count()));
        for share in [0.5, 0.95, 0.99] {
            let _ = write!(text, "{:>9}", humanize::time(times.quantile(share)));
        }
        let _ = writeln!(text, "{:>9}", humanize::time(times.max()));
    }
}

fn rejections(tally: &Tally, text: &mut String) {
    if tally.rejections.is_empty() {
        return;
    }
    text.push_str("  Rejected transactions:\n");
    let shown = tally.rejections.iter().take(NAMED);
    for rejection in shown.clone() {
        // Writing to a String cannot fail.
        let (id, message) = (one_line(&rejection.id), one_line(&rejection.message));
        let _ = writeln!(text, "    {id} ({}): {message}", rejection.category);
    }
    let rest = tally.rejected.saturating_sub(shown.len() as u64);
    if rest > 0 {
        let _ = writeln!(text, "    and {} more", humanize::count(rest));
    }
}

/// The reason that most of the rejected transactions share, or an example where all reasons differ.
fn most_frequent_reason(task: &str, tally: &Tally, kept: Kept, text: &mut String) {
    let Some((message, count)) = tally.reasons().into_iter().next() else { return };
    // The list of the rejected transactions has the reason already.
    if kept == Kept::Nowhere && (count == 1 || tally.rejected <= NAMED as u64) {
        return;
    }
    let at_least = if tally.reasons_are_exact() { "" } else { "at least " };
    let (which, times) = match count {
        1 if tally.rejected <= 1 => ("Reason", String::new()),
        1 => ("One of the reasons", String::new()),
        _ => ("Most frequent reason", format!(" ({at_least}{} times)", humanize::count(count))),
    };
    let all = match kept {
        Kept::InSight => format!(" `dead-letters list {task}` shows all dead letters."),
        Kept::Nowhere | Kept::OutOfSight => String::new(),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {which}: {}{times}.{all}", one_line(message));
}

/// All runs as one object: the sums of their figures, the errors that kept them from starting, and each run with its
/// times.
pub(crate) fn json(outcome: &Outcome) -> Value {
    let Outcome { finished, refused, breaches, .. } = outcome;
    let mut total: Map<String, Value> =
        numbers(&Tally::default()).map(|(key, zero)| (key.to_owned(), zero.into())).collect();
    for (key, count) in finished.iter().flat_map(|run| numbers(&run.report.tally)) {
        let sum = total.get(key).and_then(Value::as_u64).unwrap_or_default() + count;
        total.insert(key.to_owned(), sum.into());
    }
    total.insert("exit_code".to_owned(), outcome.exit().code().into());
    let breached = breaches.iter().map(|breach| breached(breach, None).to_string());
    let errors = refused.iter().map(ToString::to_string).chain(breached);
    total.insert("errors".to_owned(), errors.collect());
    total.insert("fail_when".to_owned(), breaches.iter().map(breach_value).collect());
    total.insert("tasks".to_owned(), finished.iter().map(run).collect());
    Value::Object(total)
}

fn run(finished: &Finished) -> Value {
    let RunReport { task, tally, elapsed, ended } = &finished.report;
    let mut object = Map::new();
    object.insert("task".to_owned(), task.as_str().into());
    object.extend(numbers(tally).map(|(key, count)| (key.to_owned(), count.into())));
    let failed = tally.failed;
    let by_category =
        json!({"business": failed.business, "system": failed.system, "timeout": failed.timeout});
    object.insert("failed_by_category".to_owned(), by_category);
    if let Some(Supervised { workers, restarts }) = finished.supervised {
        object.insert("workers".to_owned(), workers.into());
        object.insert("restarts".to_owned(), restarts.into());
    }
    object.insert("elapsed_seconds".to_owned(), elapsed.as_secs_f64().into());
    object.insert("ended".to_owned(), ended_word(ended).into());
    let mut errors: Vec<Value> = finished.close_errors.iter().map(|error| error.to_string().into()).collect();
    if let Ended::Failed(error) = ended {
        errors.insert(0, error.to_string().into());
    }
    errors.extend(finished.breaches.iter().map(|breach| breached(breach, Some(task)).to_string().into()));
    object.insert("errors".to_owned(), errors.into());
    object.insert("fail_when".to_owned(), finished.breaches.iter().map(breach_value).collect());
    let shown = |step: &Step| *step != Step::Prepare || tally.times(*step).count() > 0;
    let steps =
        Step::ALL.into_iter().filter(shown).map(|step| (step.as_str().to_owned(), step_times(tally, step)));
    object.insert("steps".to_owned(), Value::Object(steps.collect()));
    let rejections = tally.rejections.iter().map(|rejection| {
        json!({"id": rejection.id, "category": rejection.category.as_str(), "message": rejection.message})
    });
    object.insert("rejections".to_owned(), rejections.collect());
    let reasons = tally.reasons().into_iter().take(REASONS);
    let reasons = reasons.map(|(message, count)| json!({"message": message, "count": count}));
    object.insert("reasons".to_owned(), reasons.collect());
    object.insert("reasons_exact".to_owned(), tally.reasons_are_exact().into());
    Value::Object(object)
}

/// A condition that holds, with its figures.
fn breach_value(breach: &Breach) -> Value {
    json!({"condition": breach.condition, "count": breach.count, "processed": breach.processed})
}

fn numbers(tally: &Tally) -> impl Iterator<Item = (&'static str, u64)> {
    [
        ("fetched", tally.fetched),
        ("processed", tally.processed),
        ("succeeded", tally.succeeded),
        ("failed", tally.failed.total()),
        ("rejected", tally.rejected),
        ("dead_lettered", tally.dead_lettered),
        ("undelivered", tally.undelivered),
        ("handler_failures", tally.handler_failures),
        ("retries", tally.retries),
        ("call_retries", tally.call_retries),
        ("requeued", tally.requeued),
        ("given_back", tally.given_back),
        ("unknown", tally.unknown),
        ("produced", tally.produced),
        ("abandoned_threads", tally.abandoned_threads),
    ]
    .into_iter()
}

fn step_times(tally: &Tally, step: Step) -> Value {
    let times = tally.times(step);
    let seconds = |share: f64| times.quantile(share).as_secs_f64();
    json!({
        "count": times.count(),
        "p50_seconds": seconds(0.5),
        "p95_seconds": seconds(0.95),
        "p99_seconds": seconds(0.99),
        "max_seconds": times.max().as_secs_f64(),
    })
}

fn ended_word(ended: &Ended) -> &'static str {
    match ended {
        Ended::SourceEmpty => "source_empty",
        Ended::LimitReached => "limit_reached",
        Ended::Stopped { .. } => "stopped",
        Ended::TimeLimit => "time_limit",
        Ended::Finished => "finished",
        Ended::Failed(_) => "failed",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::ErrorKind;
    use crate::telemetry::Rejection;
    use crate::transaction::Category;

    fn finished(ended: Ended) -> Finished {
        Finished { report: report(ended), close_errors: Vec::new(), breaches: Vec::new(), supervised: None }
    }

    fn report(ended: Ended) -> RunReport {
        let mut tally = Tally::default();
        (tally.fetched, tally.processed, tally.succeeded, tally.retries) = (9994, 9994, 9138, 3);
        for number in 0..856 {
            tally.failed.add(Category::Business);
            let message = "quantity is 0\nor less".to_owned();
            tally.reject(|| Rejection {
                id: format!("orders.csv:{number}"),
                category: Category::Business,
                message,
            });
        }
        tally.record(Step::Process, Duration::from_millis(1));
        RunReport::new("price-orders", tally, Duration::from_secs(2), ended)
    }

    #[test]
    fn the_summary_says_all_that_counts() {
        assert_eq!(
            text(&finished(Ended::SourceEmpty), Kept::Nowhere),
            "\
price-orders: 9,994 transactions processed in 2.00s (4,997/s). The source is empty.
  9,138 succeeded, 856 failed (856 business errors).
  856 were rejected. No dead-letter connector is configured.
  3 retries.
  step           count      p50      p95      p99      max
  process            1   1.00ms   1.00ms   1.00ms   1.00ms
  Rejected transactions:
    orders.csv:0 (business): quantity is 0 or less
    orders.csv:1 (business): quantity is 0 or less
    orders.csv:2 (business): quantity is 0 or less
    orders.csv:3 (business): quantity is 0 or less
    orders.csv:4 (business): quantity is 0 or less
    and 851 more
  Most frequent reason: quantity is 0 or less (856 times).
"
        );
    }

    #[test]
    fn kept_rejections_are_not_listed_but_what_most_of_them_are_for_is() {
        let last = |kept: Kept| {
            let text = text(&finished(Ended::LimitReached), kept);
            assert!(!text.contains("Rejected transactions:"), "{text}");
            text.lines().last().unwrap().to_owned()
        };
        let reason = "  Most frequent reason: quantity is 0 or less (856 times).";
        assert_eq!(
            last(Kept::InSight),
            format!("{reason} `dead-letters list price-orders` shows all dead letters.")
        );
        assert_eq!(last(Kept::OutOfSight), reason);
    }

    #[test]
    fn each_figure_that_is_not_zero_has_a_sentence() {
        let mut run = finished(Ended::Stopped { given_back: 4 });
        let tally = &mut run.report.tally;
        *tally = Tally::default();
        (tally.processed, tally.handler_failures, tally.undelivered, tally.requeued) = (1, 1, 1, 2);
        (tally.given_back, tally.unknown, tally.call_retries, tally.abandoned_threads) = (4, 1, 1, 2);
        (tally.produced, tally.dead_lettered) = (1204, 1);
        run.supervised = Some(Supervised { workers: 4, restarts: 1 });
        tally.failed.add(Category::Timeout);
        tally.failed.add(Category::System);
        assert_eq!(
            text(&run, Kept::InSight),
            "\
price-orders: 1 transaction processed in 2.00s (0.5/s). The run was stopped.
  0 succeeded, 2 failed (1 system error, 1 timeout).
  1 was dead-lettered.
  The exception handler failed for 1 transaction.
  1 dead letter could not be delivered: its transaction was given back to the source.
  2 were requeued.
  3 were given back to the source.
  1 settlement is unknown: the source may deliver the transaction again.
  1 retry of a call.
  1,204 outbound transactions were produced.
  2 threads are abandoned: their handlers have not returned.
  4 workers, 1 restart.
"
        );
    }

    #[test]
    fn reasons_that_all_differ_are_told_by_an_example() {
        let mut all_differ = finished(Ended::SourceEmpty);
        let tally = &mut all_differ.report.tally;
        *tally = Tally::default();
        for id in ["a", "b"] {
            let rejection = Rejection {
                id: id.to_owned(),
                category: Category::Business,
                message: format!("{id} is odd"),
            };
            tally.reject(|| rejection);
        }
        assert_eq!(
            text(&all_differ, Kept::OutOfSight).lines().last(),
            Some("  One of the reasons: a is odd.")
        );
    }

    #[test]
    fn json_has_the_counts_of_all_runs_and_of_each() {
        let failed = Ended::Failed(Error::new(ErrorKind::Connector, "the link died"));
        let close = vec![Error::new(ErrorKind::Connector, "the disk is full")];
        let runs = [(Ended::SourceEmpty, Vec::new()), (failed, close)];
        let runs = runs.map(|(ended, close_errors)| Finished { close_errors, ..finished(ended) });
        let object = json(&Outcome { finished: runs.into(), ..Outcome::default() });
        assert_eq!((&object["processed"], &object["exit_code"]), (&19988.into(), &1.into()));
        assert_eq!(object["tasks"][0]["failed_by_category"]["business"], 856);
        assert_eq!(object["tasks"][1]["errors"], json!(["the link died", "the disk is full"]));
        assert_eq!(object["tasks"][1]["steps"]["process"]["count"], 1);
        let reasons = json!([{"message": "quantity is 0\nor less", "count": 856}]);
        assert_eq!(object["tasks"][0]["reasons"], reasons);
    }

    #[test]
    fn what_made_a_run_fail_is_said_in_words_and_as_json() {
        let judge = |conditions: &str| {
            let finished = vec![finished(Ended::SourceEmpty), finished(Ended::SourceEmpty)];
            let outcome = Outcome { finished, ..Outcome::default() };
            outcome.judged(Some(&conditions.parse().unwrap()))
        };
        let outcome = judge("rejected > 5%, handler-failures > 0, rejected > 1000");
        let text = text(&outcome.finished[0], Kept::InSight);
        let line = "  The `fail_when` condition `rejected > 5%` holds: 856 of 9,994 (8.56%).\n";
        assert!(text.contains(line) && text.matches("fail_when").count() == 1, "{text}");
        let object = json(&outcome);
        let share = json!({"condition": "rejected > 5%", "count": 856, "processed": 9994});
        assert_eq!(object["tasks"][0]["fail_when"], json!([share]));
        let error =
            "task `price-orders`: the `fail_when` condition `rejected > 5%` holds: 856 of 9,994 (8.56%)";
        assert_eq!(object["tasks"][0]["errors"], json!([error]));
        let share = json!({"condition": "rejected > 5%", "count": 1712, "processed": 19988});
        let count = json!({"condition": "rejected > 1000", "count": 1712, "processed": 19988});
        assert_eq!((&object["fail_when"], &object["exit_code"]), (&json!([share, count]), &1.into()));
        let together = "all tasks together: the `fail_when` condition `rejected > 1000` holds: 1,712";
        assert_eq!(object["errors"][1], together);
        let well = json(&judge("rejected > 90%"));
        assert_eq!((&well["fail_when"], &well["exit_code"]), (&json!([]), &0.into()));
    }
}
