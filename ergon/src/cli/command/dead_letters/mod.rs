//! `dead-letters`: lists, shows and replays the dead letters of a task.

mod render;
mod search;

use std::sync::Arc;

use serde_json::Value;

use self::search::{Search, Way};
use super::run::{no_threads, of_terminal, refused};
use crate::cli::args::{DeadLetters, Format, LetterAction};
use crate::cli::output::Output;
use crate::cli::project::Project;
use crate::connector::{AnyConnector, ConnectorError, Shard};
use crate::error::{Error, ErrorKind};
use crate::runner::{Built, Control, Exit, Obeying, runtime};
use crate::task::{Slot, Stop, connector_error};
use crate::transaction::{Transaction, json, key};

/// Shows dead letters, or replays them.
///
/// # Errors
/// The task does not exist, a connector does not support the command, no dead letter has a field of a condition, or the
/// dead letters cannot be read.
pub(crate) fn dead_letters(
    project: &Project,
    command: &DeadLetters,
    format: Format,
    output: &Output,
) -> Result<Exit, Error> {
    let (letters, replay) = match &command.action {
        LetterAction::List(letters) | LetterAction::Show(letters) => (letters, None),
        LetterAction::Replay(replay) => (&replay.letters, Some(replay)),
    };
    let config = project.find(&letters.task)?;
    let plan = project.plain(config);
    if replay.is_some_and(|replay| replay.process && !replay.dry_run) {
        return through_the_task(plan, command, format, output);
    }
    let built = match plan.build(Shard::default()) {
        Ok(built) => built,
        Err(errors) => return Ok(refused(&errors, output)),
    };
    let ends = Ends::of(&built, replay.is_some_and(|replay| !replay.process))?;
    let way = replay.map(|replay| match &ends.origin {
        _ if replay.dry_run => Way::Rehearsal,
        Some(origin) => Way::Back(origin.clone()),
        None => Way::Rehearsal,
    });
    let mut search = Search::new(config.name(), &command.action, way);
    let runtime = runtime().map_err(no_threads)?;
    let seen = runtime.block_on(async {
        let seen = ends.visit(&mut search).await;
        ends.close().await.and(seen)
    });
    runtime.shutdown_background();
    report(&search, &ends, (&command.action, format), output)?;
    seen?;
    Ok(if search.failed.is_empty() { Exit::Success } else { Exit::Failure })
}

/// Processes dead letters with the task in this process, one after the other. The outputs of earlier runs are kept.
fn through_the_task(
    plan: crate::runner::Plan,
    command: &DeadLetters,
    format: Format,
    output: &Output,
) -> Result<Exit, Error> {
    let name = plan.config.name();
    let (control, arriving) = Control::start().map_err(no_threads)?;
    let (grace, talk) = (plan.policies.grace(), output.clone());
    let last_words = Box::new(move |_| talk.warn("the dead letter in progress is kept"));
    let rules = of_terminal(output, grace, || "the dead letter in progress".to_owned(), last_words);
    let obeying = Obeying::new(control, arriving, Stop::default(), rules);
    let built = match obeying.build(|| plan.resume(Shard::default())).map_err(no_threads)? {
        Some(Ok(built)) => built,
        Some(Err(errors)) => return Ok(refused(&errors, output)),
        None => return Ok(obeying.exit()),
    };
    let ends = Ends::of(&built, false)?;
    let Obeying { stop, stopping, .. } = obeying;
    let runtime = runtime().map_err(no_threads)?;
    let mut search = Search::new(name, &command.action, None);
    let done = runtime.block_on(async {
        let Some(opened) = built.open_to_process(&stop).await? else { return Ok(()) };
        let opened = Arc::new(opened);
        search.way = Some(Way::Through(Arc::clone(&opened), stop.clone(), grace));
        let seen = ends.visit(&mut search).await;
        search.way = None;
        let left = opened.exit().await.map_err(|error| Error::new(ErrorKind::Task, error.to_string()));
        let mut errors: Vec<Error> = seen.err().into_iter().chain(left.err()).collect();
        if let Some(opened) = Arc::into_inner(opened) {
            errors.extend(opened.close().await);
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    });
    stopping.over();
    // An abandoned blocking handler may never return; it must not delay the end of the command.
    runtime.shutdown_background();
    report(&search, &ends, (&command.action, format), output)?;
    let succeeded = done.is_ok() && search.failed.is_empty() && search.rejected.is_empty();
    for error in done.err().into_iter().flatten() {
        output.error(&error);
    }
    let ended = if succeeded { Exit::Success } else { Exit::Failure };
    Ok(stopping.reason().as_ref().map_or(ended, crate::runner::stopping::Reason::exit))
}

/// Writes the dead letters and their outcome.
fn report(
    search: &Search<'_>,
    ends: &Ends,
    (action, format): (&LetterAction, Format),
    output: &Output,
) -> Result<(), Error> {
    // A condition on an unknown field would look as if no dead letter met it.
    search.check_fields()?;
    if search.complete || search.has_results() {
        output.data(&render::render(search, action, format))?;
        output.talk(&render::summary(search, action, ends));
    }
    Ok(())
}

/// A connector, and the slot it is wired to.
type End = (Slot, Arc<dyn AnyConnector>);

/// The dead-letter connector, and the source that dead letters go back to.
struct Ends {
    letters: End,
    origin: Option<End>,
    /// Converts the payload of a dead letter to the source's own form, where JSON is not that form.
    rows: Option<fn(crate::transaction::Payload) -> crate::transaction::Payload>,
}

impl Ends {
    /// Finds both; `back` requires that the source accepts dead letters back.
    fn of(built: &Built, back: bool) -> Result<Self, Error> {
        let Some(letters) = built.dead_letter() else {
            let what = format!("task `{}` has no dead-letter connector", built.name);
            let role = if built.policies.consumer.is_some() { "consumer" } else { "producer" };
            return Err(Error::new(ErrorKind::Connector, what)
                .with_hint(format!("add a connector and name it: `{role}(dead_letter = ...)`")));
        };
        if letters.1.offers().dead_letters.is_none() {
            return Err(unable(letters.0, "cannot list dead letters")
                .with_hint("docs/connectors.md names the connectors that can"));
        }
        let origin = built.origin();
        let rows = origin.as_ref().and_then(|(_, connector)| connector.offers().rows);
        if !back {
            return Ok(Self { letters, origin: None, rows });
        }
        let Some(origin) = origin else {
            let what = format!("task `{}` has no source to send dead letters back to", built.name);
            return Err(Error::new(ErrorKind::Connector, what));
        };
        if origin.1.offers().redrive.is_none() {
            let hint = format!("process them with the task: `dead-letters replay {} --process`", built.name);
            return Err(unable(origin.0, "accepts nothing back").with_hint(hint));
        }
        Ok(Self { letters, origin: Some(origin), rows })
    }

    async fn visit(&self, search: &mut Search<'_>) -> Result<(), Error> {
        let (slot, connector) = &self.letters;
        search.rows = self.rows;
        let seen = match connector.offers().dead_letters {
            Some(letters) => letters.visit(search).await.map_err(|error| failed(*slot, &error)),
            None => Ok(()),
        };
        search.complete = seen.is_ok();
        seen
    }

    async fn close(&self) -> Result<(), Error> {
        let mut closed = Ok(());
        for (slot, connector) in self.origin.iter().chain([&self.letters]) {
            closed = closed.and(connector.close().await.map_err(|error| failed(*slot, &error)));
        }
        closed
    }
}

fn unable(slot: Slot, what: &str) -> Error {
    Error::new(ErrorKind::Connector, format!("connector `{}` ({}) {what}", slot.name, slot.kind))
}

/// An error of a connector after the start, when the settings were valid: exit code 1.
fn failed(slot: Slot, error: &ConnectorError) -> Error {
    let said = connector_error(slot.name, slot.kind, error);
    Error::new(ErrorKind::Connector, said.to_string()).explained_like(&said, said.hint())
}

fn replays(letter: &Transaction) -> u64 {
    letter.metadata().get(key::REPLAYS).and_then(Value::as_u64).unwrap_or_default()
}

/// The value of a field of `--where`.
fn field_of(letter: &Transaction, field: &str) -> Option<Value> {
    let metadata = |name: &str| letter.metadata().get(name).cloned();
    match field.split_once('.') {
        Some(("payload", path)) => within(&payload(letter), path).cloned(),
        Some(("metadata", name)) => metadata(name),
        _ => match field {
            "id" => Some(letter.id().into()),
            "error" => metadata(key::ERROR),
            "category" => metadata(key::CATEGORY),
            "attempts" => metadata(key::ATTEMPTS),
            "replays" => Some(replays(letter).into()),
            _ => None,
        },
    }
}

/// The value under a path of keys and indices, separated by dots. A key may contain dots.
fn within<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let own = |key: &str| match value {
        Value::Object(entries) => entries.get(key),
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    };
    own(path).or_else(|| {
        path.match_indices('.').find_map(|(dot, _)| within(own(path.get(..dot)?)?, path.get(dot + 1..)?))
    })
}

/// The payload as JSON, or as text where it is not JSON or a number would lose digits.
fn payload(letter: &Transaction) -> Value {
    let bytes = letter.payload().to_bytes().unwrap_or_default();
    json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into())
}
