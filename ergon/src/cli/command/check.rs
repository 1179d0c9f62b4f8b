//! `check`: tries every connector and service, and tells all that is wrong.

use std::fmt::Write as _;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::list::short_type;
use super::run::no_threads;
use crate::cli::args::Format;
use crate::cli::output::Output;
use crate::cli::project::Project;
use crate::cli::words;
use crate::connector::Shard;
use crate::error::Error;
use crate::policy::ConsumerLayer;
use crate::runner::{Built, Checked, Exit, runtime};
use crate::task::{Outline, TaskConfig};

/// Checks one task, or all.
///
/// # Errors
/// A task that is not there, output that cannot be written, or no threads to run on.
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
    // What hangs past its deadline must not hold back the end.
    runtime.shutdown_background();
    let problems = all.iter().flat_map(|task| &task.rows).filter(|row| row.error.is_some()).count();
    output.data(&match format {
        Format::Json => format!("{:#}\n", json(&all, problems)),
        _ => text(&all, problems),
    })?;
    Ok(if problems == 0 { Exit::Success } else { Exit::Failure })
}

/// A task, and what was found out about it.
struct Task {
    name: &'static str,
    rows: Vec<Row>,
    warning: Option<String>,
}

/// One thing that was tried.
struct Row {
    what: &'static str,
    name: String,
    kind: String,
    elapsed: Option<std::time::Duration>,
    error: Option<Error>,
}

async fn checked(project: &Project, config: &TaskConfig) -> Task {
    let outline = &config.outline;
    let plan = project.plan(config, &ConsumerLayer::default(), &[]);
    let warning = plan.as_ref().ok().and_then(crate::runner::Plan::warning);
    let rows = match plan.and_then(|plan| plan.build(Shard::default())) {
        Ok(built) => tried(built, outline).await,
        // Nothing can be tried of a task that cannot be built; the other tasks can.
        Err(error) => vec![Row {
            what: "task",
            name: outline.name.to_owned(),
            kind: String::new(),
            elapsed: None,
            error: Some(error),
        }],
    };
    Task { name: outline.name, rows, warning }
}

async fn tried(built: Built, outline: &Outline) -> Vec<Row> {
    let row = |checked: Checked| {
        let Checked { what, name, elapsed, error } = checked;
        let slot = outline.slots.iter().find(|slot| slot.name == name && what == "connector");
        let service = outline.services.iter().find(|(service, _)| *service == name);
        let kind = slot.map(|slot| slot.kind).or(service.map(|(_, kind)| short_type(kind)));
        Row {
            what,
            name: name.to_owned(),
            kind: kind.unwrap_or_default().to_owned(),
            elapsed: Some(elapsed),
            error,
        }
    };
    built.check().await.into_iter().map(row).collect()
}

impl Row {
    /// The causes from the outermost on, without the row's own name before the first.
    fn causes(&self) -> Vec<String> {
        let Self { what, name, kind, error, .. } = self;
        let error = error.as_ref().map(|error| error as &dyn std::error::Error);
        let mut causes: Vec<String> =
            std::iter::successors(error, |error| error.source()).map(ToString::to_string).collect();
        if let Some(first) = causes.first_mut() {
            for prefix in [format!("{what} `{name}` ({kind}): "), format!("{what} `{name}`: ")] {
                if let Some(rest) = first.strip_prefix(&prefix) {
                    *first = rest.to_owned();
                }
            }
        }
        causes
    }
}

fn text(tasks: &[Task], problems: usize) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail, here and below.
    for task in tasks {
        let _ = writeln!(text, "{}", task.name);
        let width =
            |of: fn(&Row) -> &str| task.rows.iter().map(|row| of(row).len()).max().unwrap_or_default();
        let (names, kinds) = (width(|row| &row.name), width(|row| &row.kind));
        for row in &task.rows {
            let state = if row.error.is_some() { "failed" } else { "ok" };
            let took = row.elapsed.map(words::time).unwrap_or_default();
            let line = format!("  {state:<6}  {:<names$}  {:<kinds$}  {took:>6}", row.name, row.kind);
            let _ = writeln!(text, "{}", line.trim_end());
            for (at, cause) in row.causes().into_iter().enumerate() {
                let label = if at == 0 { "" } else { "because: " };
                let _ = writeln!(text, "          {label}{}", cause.trim_end());
            }
            if let Some(hint) = row.error.as_ref().and_then(Error::hint) {
                let _ = writeln!(text, "          hint: {hint}");
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
            "ok": row.error.is_none(),
            "elapsed_seconds": row.elapsed.map(|elapsed| elapsed.as_secs_f64()),
            "causes": row.causes(),
            "hint": row.error.as_ref().and_then(Error::hint),
        })
    };
    let task = |task: &Task| {
        let checks: Value = task.rows.iter().map(row).collect();
        json!({"name": task.name, "checks": checks, "warning": task.warning})
    };
    json!({"ok": problems == 0, "problems": problems, "tasks": tasks.iter().map(task).collect::<Value>()})
}
