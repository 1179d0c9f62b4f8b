//! `process-transaction` and `process-transaction-by-id`: process one transaction with a task, outside of a run.

use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::run::{LATE, no_threads, of_terminal, refused};
use crate::cli::args::{Format, Process, ProcessById};
use crate::cli::humanize;
use crate::cli::output::Output;
use crate::cli::project::Project;
use crate::connector::Shard;
use crate::error::{Error, ErrorKind};
use crate::runner::stopping::Reason;
use crate::runner::{Built, Control, Exit, Obeying, Plan, runtime};
use crate::settings::{Origin, Problem, SourceFile, suggest};
use crate::task::Stop;
use crate::telemetry::SingleReport;
use crate::transaction::{ContentType, Payload, Transaction};

/// The hint for a missing payload.
const PLACES: &str = "pass it with `--payload-json`, `--payload-file`, or `-` for standard input";

/// Processes one transaction from the command line.
///
/// # Errors
/// The task does not exist, the payload is not JSON, or the runtime does not start.
pub(crate) fn process(
    project: &Project,
    process: &Process,
    format: Format,
    output: &Output,
) -> Result<Exit, Error> {
    let plan = project.plain(project.find(&process.task)?);
    let work = Work::Given(transaction(process)?);
    run(plan, work, process.dry_run, format, output)
}

/// Processes one transaction that the task's source finds by its id.
///
/// # Errors
/// The task does not exist, or the runtime does not start.
pub(crate) fn process_by_id(
    project: &Project,
    process: &ProcessById,
    format: Format,
    output: &Output,
) -> Result<Exit, Error> {
    let plan = project.plain(project.find(&process.task)?);
    let work = Work::ById(process.id.clone());
    run(plan, work, process.dry_run, format, output)
}

/// The transaction to process.
enum Work {
    Given(Transaction),
    ById(String),
}

fn run(plan: Plan, work: Work, dry_run: bool, format: Format, output: &Output) -> Result<Exit, Error> {
    let (control, arriving) = Control::start().map_err(no_threads)?;
    let words = cut_short(&work, format, output);
    let rules = of_terminal(output, plan.policies.grace(), || "the transaction".to_owned(), words);
    let obeying = Obeying::new(control, arriving, Stop::default(), rules);
    // Resuming keeps the output of earlier runs: the transaction is one more.
    let built = match obeying.build(|| plan.resume(Shard::default())).map_err(no_threads)? {
        Some(Ok(built)) => built,
        Some(Err(errors)) => return Ok(refused(&errors, output)),
        None => return Ok(obeying.exit()),
    };
    let Obeying { stop, stopping, .. } = obeying;
    let runtime = runtime().map_err(no_threads)?;
    let Done { report, errors } = runtime.block_on(process_one(built, work, dry_run, stop));
    stopping.over();
    // An abandoned blocking handler may never return; it must not delay the end of the command.
    runtime.shutdown_background();
    let written = report.as_ref().map_or(Ok(()), |report| output.data(&shown(report, format)));
    for error in &errors {
        output.error(error);
    }
    if let Some(reason) = stopping.reason() {
        // The terminal may be closed; the exit code still reports why the process ends.
        written.unwrap_or_else(|error| output.error(&error));
        return Ok(reason.exit());
    }
    written?;
    let succeeded = errors.is_empty() && report.as_ref().is_some_and(SingleReport::succeeded);
    Ok(if succeeded { Exit::Success } else { Exit::Failure })
}

/// Reports a transaction that did not finish in time and is given back.
fn cut_short(work: &Work, format: Format, output: &Output) -> Box<dyn FnOnce(Reason) + Send> {
    let id = match work {
        Work::Given(transaction) => transaction.id().to_owned(),
        Work::ById(id) => id.clone(),
    };
    let output = output.clone();
    Box::new(move |_| {
        // Nothing can report an error of this output any more.
        let _ = output.data(&shown(&SingleReport::given_back(&id), format));
        output.warn(LATE);
    })
}

/// The outcome of one transaction.
struct Done {
    /// None if the command was stopped before the transaction started, or if a connector or service did not open.
    report: Option<SingleReport>,
    /// The errors of connectors and services that did not open or close.
    errors: Vec<Error>,
}

/// Processes one transaction. After a stop, it may finish within the grace of its task; then it is given back. The task
/// exits and its connectors and services close in either case.
async fn process_one(built: Built, work: Work, dry_run: bool, stop: Stop) -> Done {
    let (grace, stopped) = (built.policies.grace(), stop.clone());
    let processed = async {
        match work {
            Work::Given(transaction) => built.process(transaction, dry_run, stop).await,
            Work::ById(id) => built.process_by_id(&id, dry_run, stop).await,
        }
    };
    let too_late = async {
        stopped.drain.cancelled().await;
        sleep(grace).await;
        stopped.abort.cancel();
        std::future::pending().await
    };
    let processed = tokio::select! {
        processed = processed => processed,
        never = too_late => never,
    };
    let (report, errors) = processed.unwrap_or_else(|errors| (None, errors));
    Done { report, errors }
}

/// Builds the transaction that the command line describes.
fn transaction(process: &Process) -> Result<Transaction, Error> {
    let source = payload(process)?;
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&source.text) {
        return Err(not_json(source, &error).into());
    }
    let payload = Payload::bytes(ContentType::Json, source.text.clone());
    let mut builder = Transaction::builder().payload(payload);
    if let Some(id) = &process.id {
        builder = builder.id(id.as_str());
    }
    for (key, value) in &process.metadata {
        builder = builder.metadata(key.clone(), value.as_str());
    }
    Ok(builder.build())
}

/// Reads the payload from the place that the command line names.
fn payload(process: &Process) -> Result<std::sync::Arc<SourceFile>, Error> {
    let mut standard_input = false;
    for word in &process.rest {
        match word.as_str() {
            "-" => standard_input = true,
            "consumer" => {}
            other => return Err(unknown_word(other)),
        }
    }
    let usage = |what: &str| Error::new(ErrorKind::Usage, what).with_hint(PLACES);
    match (&process.payload_json, &process.payload_file, standard_input) {
        (Some(json), None, false) => Ok(SourceFile::new(Path::new("--payload-json"), json.clone())),
        (None, Some(file), false) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| unreadable(&file.display().to_string(), error))?;
            Ok(SourceFile::new(file, text))
        }
        (None, None, true) => {
            let mut text = String::new();
            let read = std::io::stdin().lock().read_to_string(&mut text);
            read.map_err(|error| unreadable("standard input", error))?;
            Ok(SourceFile::new(Path::new("standard input"), text))
        }
        (None, None, false) => Err(usage("there is no payload")),
        _ => Err(usage("there is more than one payload")),
    }
}

fn unknown_word(word: &str) -> Error {
    let error = Error::new(ErrorKind::Usage, format!("unexpected argument `{word}`"));
    error.with_hint_if(suggest::hint(word, ["consumer"]))
}

fn unreadable(name: &str, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Usage, format!("the payload cannot be read from {name}")).with_source(error)
}

/// The problem of a payload that is not JSON, with its line and a caret.
fn not_json(source: std::sync::Arc<SourceFile>, error: &serde_json::Error) -> Problem {
    let lines = source.text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let line_start: usize = lines.map(str::len).sum();
    let stopped = line_start + error.column().saturating_sub(1);
    // A payload that ends too early is marked at its end. Elsewhere the parser counts bytes, and may stop within a
    // character.
    let wanted = if error.is_eof() { source.text.trim_end().len() } else { stopped };
    let at = source.text.floor_char_boundary(wanted.min(source.text.len()));
    let width = source.text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    let message = error.to_string();
    let reason = message.split(" at line ").next().unwrap_or(&message);
    let place = Origin::Span(source, at..at + width);
    let problem = Problem::new(place, "", format!("the payload is not valid JSON: {reason}"));
    problem.with_hint("hint: a JSON string needs double quotes: '\"text\"'")
}

fn shown(report: &SingleReport, format: Format) -> String {
    if format == Format::Json { format!("{:#}\n", json(report)) } else { text(report) }
}

fn text(report: &SingleReport) -> String {
    let outcome = match &report.error {
        None => "succeeded".to_owned(),
        Some(error) => format!("failed ({}): {}", error.category(), humanize::one_line(&chain(error))),
    };
    let mut text = format!("{}: {outcome}\n", humanize::one_line(&report.id));
    for step in &report.steps {
        let attempts = if step.attempts == 1 { "attempt" } else { "attempts" };
        let error =
            step.error.as_deref().map(|error| format!("  {}", humanize::one_line(error))).unwrap_or_default();
        let (name, took) = (step.step.as_str(), humanize::time(step.elapsed));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<10} {} {attempts:<8} {took:>7}{error}", step.attempts);
    }
    let disposition = report.disposition.unwrap_or("none (only the process step ran)");
    let _ = writeln!(text, "  disposition: {disposition}");
    if let Some(output) = &report.output {
        let _ = writeln!(text, "{output:#}");
    }
    text
}

/// An error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn json(report: &SingleReport) -> Value {
    let steps = report.steps.iter().map(|step| {
        json!({
            "step": step.step.as_str(),
            "attempts": step.attempts,
            "elapsed_seconds": step.elapsed.as_secs_f64(),
            "error": step.error,
        })
    });
    let error = report
        .error
        .as_ref()
        .map(|error| json!({"category": error.category().as_str(), "message": chain(error)}));
    json!({
        "id": report.id,
        "outcome": if report.succeeded() { "succeeded" } else { "failed" },
        "output": report.output,
        "error": error,
        "disposition": report.disposition,
        "steps": steps.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::policy::ConsumerPolicy;
    use crate::runner::fake::price_orders;

    async fn done(number: u64, stop: Stop) -> Done {
        let config = price_orders("one stays-open", ConsumerPolicy::DEFAULT);
        let built = Plan::new(config).build(Shard::default()).unwrap();
        process_one(built, Work::Given(Transaction::new("t", &number).unwrap()), false, stop).await
    }

    #[tokio::test(start_paused = true)]
    async fn when_it_is_told_to_stop_it_has_the_grace_and_what_is_open_is_closed() {
        let (stop, began) = (Stop::default(), Instant::now());
        let stopping = stop.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(1)).await;
            stopping.drain.cancel();
        });
        // The fake never ends at 99.
        let done = done(99, stop).await;
        let report = done.report.unwrap();
        assert_eq!(report.error.unwrap().to_string(), "the run was stopped before the transaction finished");
        assert_eq!(done.errors[0].to_string(), "connector `dlq` (stubborn): the disk is full");
        assert_eq!(began.elapsed(), Duration::from_secs(1) + ConsumerPolicy::DEFAULT.shutdown_grace);
    }

    #[tokio::test]
    async fn what_is_told_to_stop_before_it_began_does_not_begin() {
        let stop = Stop::default();
        stop.drain.cancel();
        let done = done(99, stop).await;
        assert!(done.report.is_none() && done.errors.is_empty(), "{:?}", done.errors);
    }
}
