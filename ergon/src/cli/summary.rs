//! What a run came to, in words and as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::humanize::{self, one_line};
use crate::error::{Error, ErrorKind};
use crate::runner::{Finished, Outcome, Supervised};
use crate::settings::Breach;
use crate::telemetry::{Ended, RunReport, Step, Tally};

/// How many rejected transactions are named.
const NAMED: usize = 5;
/// How many reasons are told to programs.
const REASONS: usize = 5;

/// Where what a task refuses is to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Nowhere: only the summary names it.
    Nowhere,
    /// Where no command of this program can look.
    OutOfSight,
    /// Where `dead-letters` can list it.
    InSight,
}

/// The summary of one run in words.
pub(crate) fn text(finished: &Finished, kept: Kept) -> String {
    let RunReport { task, tally, elapsed, ended } = &finished.report;
    let processed = humanize::count(tally.processed);
    let (took, rate) = (humanize::time(*elapsed), humanize::rate(tally.processed, *elapsed));
    let mut text = format!("{task}: {processed} processed in {took} ({rate}); {}\n", reason(ended));
    let breaches = finished.breaches.iter().map(|breach| format!("failed by `fail_when`: {}", holds(breach)));
    for line in counts(tally).into_iter().chain(breaches).chain(finished.supervised.map(supervised)) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {line}");
    }
    times(tally, &mut text);
    if kept == Kept::Nowhere {
        rejections(tally, &mut text);
    }
    most_often(task, tally, kept, &mut text);
    text
}

/// Why a run ended.
fn reason(ended: &Ended) -> String {
    match ended {
        Ended::SourceEmpty => "the source is empty".to_owned(),
        Ended::LimitReached => "the limit is reached".to_owned(),
        Ended::Stopped { given_back: 0 } => "stopped".to_owned(),
        Ended::Stopped { given_back } => format!("stopped, {} given back", humanize::count(*given_back)),
        Ended::TimeLimit => "the time limit ran out".to_owned(),
        Ended::Finished => "finished".to_owned(),
        Ended::Failed(error) => format!("failed: {}", one_line(&error.to_string())),
    }
}

fn counts(tally: &Tally) -> Vec<String> {
    let n = humanize::count;
    let failed = tally.failed;
    let mut lines = vec![
        format!("{} succeeded", n(tally.succeeded)),
        format!(
            "{} failed: {} business, {} system, {} timeout",
            n(failed.total()),
            n(failed.business),
            n(failed.system),
            n(failed.timeout)
        ),
        format!("{} rejected, {} dead-lettered", n(tally.rejected), n(tally.dead_lettered)),
        format!("{} retries, {} requeued, {} unknown", n(tally.retries), n(tally.requeued), n(tally.unknown)),
    ];
    if tally.undelivered > 0 {
        let line = format!("{} not taken by the dead-letter connector, given back", n(tally.undelivered));
        lines.push(line);
    }
    match tally.call_retries {
        0 => {}
        1 => lines.push("1 retry of a call".to_owned()),
        retries => lines.push(format!("{} retries of calls", n(retries))),
    }
    if tally.produced > 0 {
        lines.push(format!("{} produced", n(tally.produced)));
    }
    if tally.abandoned_threads > 0 {
        lines.push(format!("{} threads abandoned: their handlers do not return", n(tally.abandoned_threads)));
    }
    if tally.handler_failures > 0 {
        lines.push(format!("{} failed in their exception handler", n(tally.handler_failures)));
    }
    lines
}

/// `rejected > 5%: 856 of 9,994 (8.56%)`
fn holds(breach: &Breach) -> String {
    let Breach { condition, count, processed, is_share } = breach;
    let (count, of) = (humanize::count(*count), humanize::count(*processed));
    if *is_share {
        format!("{condition}: {count} of {of} ({})", humanize::share(breach.count, *processed))
    } else {
        format!("{condition}: {count}")
    }
}

/// The error of a run, or of all runs together, for which a condition of `fail_when` holds.
pub(crate) fn breached(breach: &Breach, task: Option<&str>) -> Error {
    let whose = task.map_or_else(|| "all tasks together".to_owned(), |task| format!("task `{task}`"));
    Error::new(ErrorKind::Task, format!("{whose}: `fail_when` holds: {}", holds(breach)))
}

/// `4 workers`, `4 workers, 1 restart`
fn supervised(supervised: Supervised) -> String {
    let Supervised { workers, restarts } = supervised;
    let workers = humanize::count(workers as u64);
    match restarts {
        0 => format!("{workers} workers"),
        1 => format!("{workers} workers, 1 restart"),
        restarts => format!("{workers} workers, {} restarts", humanize::count(restarts)),
    }
}

/// How long each step took; a step that never ran is left out.
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
    text.push_str("  rejected:\n");
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

/// What most were refused for, so that nobody has to look for it when it is all of them.
fn most_often(task: &str, tally: &Tally, kept: Kept, text: &mut String) {
    let Some((message, count)) = tally.reasons().into_iter().next() else { return };
    // The list says it already.
    if kept == Kept::Nowhere && (count == 1 || tally.rejected <= NAMED as u64) {
        return;
    }
    // Where no two are alike, none of them is the most frequent.
    let which = if count > 1 { "most often" } else { "such as" };
    let at_least = if tally.reasons_are_exact() { "" } else { "at least " };
    let count = if count > 1 { format!(" ({at_least}{})", humanize::count(count)) } else { String::new() };
    let where_all_are =
        if kept == Kept::InSight { format!("; `dead-letters list {task}` shows all") } else { String::new() };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {which}: {}{count}{where_all_are}", one_line(message));
}

/// All runs as one object: the counts of all together, what kept them from beginning, and each run with its times.
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

/// A condition that holds, and what for.
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
price-orders: 9,994 processed in 2.00s (4,997/s); the source is empty
  9,138 succeeded
  856 failed: 856 business, 0 system, 0 timeout
  856 rejected, 0 dead-lettered
  3 retries, 0 requeued, 0 unknown
  step           count      p50      p95      p99      max
  process            1   1.00ms   1.00ms   1.00ms   1.00ms
  rejected:
    orders.csv:0 (business): quantity is 0 or less
    orders.csv:1 (business): quantity is 0 or less
    orders.csv:2 (business): quantity is 0 or less
    orders.csv:3 (business): quantity is 0 or less
    orders.csv:4 (business): quantity is 0 or less
    and 851 more
  most often: quantity is 0 or less (856)
"
        );
    }

    #[test]
    fn kept_rejections_are_not_listed_but_what_most_of_them_are_for_is() {
        let last = |kept: Kept| {
            let text = text(&finished(Ended::LimitReached), kept);
            assert!(!text.contains("rejected:"), "{text}");
            text.lines().last().unwrap().to_owned()
        };
        let reason = "  most often: quantity is 0 or less (856)";
        assert_eq!(last(Kept::InSight), format!("{reason}; `dead-letters list price-orders` shows all"));
        assert_eq!(last(Kept::OutOfSight), reason);
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
        assert_eq!(text(&all_differ, Kept::OutOfSight).lines().last(), Some("  such as: a is odd"));
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
        let line = "  failed by `fail_when`: rejected > 5%: 856 of 9,994 (8.56%)\n";
        assert!(text.contains(line) && text.matches("fail_when").count() == 1, "{text}");
        let object = json(&outcome);
        let share = json!({"condition": "rejected > 5%", "count": 856, "processed": 9994});
        assert_eq!(object["tasks"][0]["fail_when"], json!([share]));
        let told = "task `price-orders`: `fail_when` holds: rejected > 5%: 856 of 9,994 (8.56%)";
        assert_eq!(object["tasks"][0]["errors"], json!([told]));
        let share = json!({"condition": "rejected > 5%", "count": 1712, "processed": 19988});
        let count = json!({"condition": "rejected > 1000", "count": 1712, "processed": 19988});
        assert_eq!((&object["fail_when"], &object["exit_code"]), (&json!([share, count]), &1.into()));
        assert_eq!(object["errors"][1], "all tasks together: `fail_when` holds: rejected > 1000: 1,712");
        let well = json(&judge("rejected > 90%"));
        assert_eq!((&well["fail_when"], &well["exit_code"]), (&json!([]), &0.into()));
    }
}
