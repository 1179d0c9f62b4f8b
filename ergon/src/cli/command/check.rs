//! `check`: opens every connector and service and reports all problems.

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::list::short_type;
use super::run::no_threads;
use crate::cli::args::Format;
use crate::cli::humanize;
use crate::cli::output::Output;
use crate::cli::project::Project;
use crate::error::Error;
use crate::runner::{Checked, Exit, runtime};
use crate::settings::Problems;
use crate::task::{Outline, TaskConfig};

/// Checks one task, or all.
///
/// # Errors
/// The task does not exist, the output cannot be written, or the runtime does not start.
pub(crate) fn check(
    project: &Project,
    task: Option<&str>,
    format: Format,
    output: &Output,
) -> Result<Exit, Error> {
    let tasks: Vec<&TaskConfig> = match task {
        Some(name) => vec![project.find(name)?],
        None => project.tasks.iter().collect(),
    };
    let runtime = runtime().map_err(no_threads)?;
    let all = runtime.block_on(join_all(tasks.into_iter().map(|task| checked(project, task))));
    // A connector that hangs past its deadline must not delay the end of the command.
    runtime.shutdown_background();
    let problems = all.iter().flat_map(|task| &task.rows).filter(|row| row.problem.is_some()).count();
    output.data(&match format {
        Format::Json => format!("{:#}\n", json(&all, problems)),
        _ => text(&all, problems),
    })?;
    Ok(if problems == 0 { Exit::Success } else { Exit::Failure })
}

/// A task and the results of its checks.
struct Task {
    name: &'static str,
    rows: Vec<Row>,
    warning: Option<String>,
}

/// The result of one check.
struct Row {
    what: &'static str,
    name: &'static str,
    kind: &'static str,
    elapsed: Option<Duration>,
    problem: Option<Problem>,
}

/// The reason why a check failed.
struct Problem {
    /// The causes, the outermost first. The first cause does not repeat the names in the row.
    causes: Vec<String>,
    hint: Option<String>,
}

async fn checked(project: &Project, config: &TaskConfig) -> Task {
    let (name, plan) = (config.outline.name, project.plain(config));
    let warning = plan.warning();
    let checked = plan.check().await.into_iter();
    Task { name, rows: checked.map(|checked| row(checked, &config.outline)).collect(), warning }
}

fn row(checked: Checked, outline: &Outline) -> Row {
    let Checked { what, name, elapsed, error } = checked;
    let slot = outline.slots.iter().find(|slot| slot.name == name && what == "connector");
    let service = outline.services.iter().find(|(service, _)| *service == name && what == "service");
    let kind = slot.map(|slot| slot.kind).or(service.map(|(_, kind)| short_type(kind))).unwrap_or_default();
    let said = [
        format!("{what} `{name}` ({kind}): "),
        format!("{what} `{name}`: "),
        format!("task `{}`: ", outline.name),
    ];
    Row { what, name, kind, elapsed, problem: error.map(|error| problem(&error, &said)) }
}

fn problem(error: &Error, said: &[String]) -> Problem {
    let (first, source) = (error.to_string(), std::error::Error::source(error));
    let first = said.iter().find_map(|said| first.strip_prefix(said)).unwrap_or(&first).to_owned();
    let settings = source.and_then(|source| source.downcast_ref::<Problems>());
    // The source of a settings error is the same error with its line.
    let causes = std::iter::successors(source.filter(|_| settings.is_none()), |cause| cause.source());
    let causes = std::iter::once(first).chain(causes.map(ToString::to_string)).collect();
    let advice = settings.into_iter().flat_map(Problems::iter).find_map(|problem| problem.hints.first());
    let advice = advice.map(|advice| advice.trim_start_matches("hint: ").to_owned());
    Problem { causes, hint: error.hint().map(str::to_owned).or(advice) }
}

fn text(tasks: &[Task], problems: usize) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail, here and below.
    for task in tasks {
        let _ = writeln!(text, "{}", task.name);
        let width =
            |of: fn(&Row) -> &str| task.rows.iter().map(|row| of(row).len()).max().unwrap_or_default();
        let (names, kinds) = (width(|row| row.name), width(|row| row.kind));
        for row in &task.rows {
            let state = if row.problem.is_some() { "failed" } else { "ok" };
            let took = row.elapsed.map(humanize::time).unwrap_or_default();
            let line = format!("  {state:<6}  {:<names$}  {:<kinds$}  {took:>6}", row.name, row.kind);
            let _ = writeln!(text, "{}", line.trim_end());
            let Some(Problem { causes, hint }) = &row.problem else { continue };
            for (at, cause) in causes.iter().enumerate() {
                let label = if at == 0 { "" } else { "because: " };
                let _ = writeln!(text, "          {label}{}", humanize::one_line(cause.trim_end()));
            }
            if let Some(hint) = hint {
                let _ = writeln!(text, "          hint: {}", humanize::one_line(hint));
            }
        }
        if let Some(warning) = &task.warning {
            let _ = writeln!(text, "  warning: {warning}");
        }
    }
    let _ = match problems {
        0 => writeln!(text, "no problems"),
        1 => writeln!(text, "1 problem"),
        more => writeln!(text, "{more} problems"),
    };
    text
}

fn json(tasks: &[Task], problems: usize) -> Value {
    let row = |row: &Row| {
        json!({
            "what": row.what,
            "name": row.name,
            "kind": row.kind,
            "ok": row.problem.is_none(),
            "elapsed_seconds": row.elapsed.map(|elapsed| elapsed.as_secs_f64()),
            "causes": row.problem.as_ref().map_or(&[][..], |problem| &problem.causes),
            "hint": row.problem.as_ref().and_then(|problem| problem.hint.as_ref()),
        })
    };
    let task = |task: &Task| {
        let checks: Value = task.rows.iter().map(row).collect();
        json!({"name": task.name, "checks": checks, "warning": task.warning})
    };
    json!({"ok": problems == 0, "problems": problems, "tasks": tasks.iter().map(task).collect::<Value>()})
}
