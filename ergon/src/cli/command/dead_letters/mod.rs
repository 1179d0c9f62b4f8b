//! `dead-letters`: what a task rejected, and the way back: to where it came from, or through the task.

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
/// A task that is not there, a connector that cannot do what is asked of it, a field that no letter has, or letters that
/// cannot be seen.
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

/// Runs letters through the task, one after the other, in this process. Its outputs are written to after what is there.
fn through_the_task(
    plan: crate::runner::Plan,
    command: &DeadLetters,
    format: Format,
    output: &Output,
) -> Result<Exit, Error> {
    let name = plan.config.name();
    let (control, arriving) = Control::start().map_err(no_threads)?;
    let (grace, talk) = (plan.policies.grace(), output.clone());
    let last_words = Box::new(move |_| talk.warn("the letter that was processed stays where it is"));
    let rules = of_terminal(output, grace, || "the letter that is processed".to_owned(), last_words);
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
    // A blocking handler that was abandoned may never return; it must not hold back the end.
    runtime.shutdown_background();
    report(&search, &ends, (&command.action, format), output)?;
    let succeeded = done.is_ok() && search.failed.is_empty() && search.rejected.is_empty();
    for error in done.err().into_iter().flatten() {
        output.error(&error);
    }
    let ended = if succeeded { Exit::Success } else { Exit::Failure };
    Ok(stopping.reason().as_ref().map_or(ended, crate::runner::stopping::Reason::exit))
}

/// Writes what was found, and what became of it.
fn report(
    search: &Search<'_>,
    ends: &Ends,
    (action, format): (&LetterAction, Format),
    output: &Output,
) -> Result<(), Error> {
    // A condition on a field that no letter has would look as if there were no such letter.
    search.check_fields()?;
    if search.complete || search.has_results() {
        output.data(&render::render(search, action, format))?;
        output.talk(&render::summary(search, action, ends));
    }
    Ok(())
}

/// A connector, and the slot it is wired to.
type End = (Slot, Arc<dyn AnyConnector>);

/// The connectors that letters lie in and go back to.
struct Ends {
    letters: End,
    origin: Option<End>,
    /// Makes of a letter's payload what the source hands out, where JSON does not.
    rows: Option<fn(crate::transaction::Payload) -> crate::transaction::Payload>,
}

impl Ends {
    /// Finds them; `back` if the source has to take letters back.
    fn of(built: &Built, back: bool) -> Result<Self, Error> {
        let Some(letters) = built.dead_letter() else {
            let what = format!("task `{}` names no connector for what it rejects", built.name);
            let role = if built.policies.consumer.is_some() { "consumer" } else { "producer" };
            return Err(Error::new(ErrorKind::Connector, what)
                .with_hint(format!("wire one and name it: `{role}(dead_letter = ...)`")));
        };
        if letters.1.offers().dead_letters.is_none() {
            return Err(unable(letters.0, "cannot show what lies in it")
                .with_hint("docs/connectors.md says which connectors can"));
        }
        let origin = built.origin();
        let rows = origin.as_ref().and_then(|(_, connector)| connector.offers().rows);
        if !back {
            return Ok(Self { letters, origin: None, rows });
        }
        let Some(origin) = origin else {
            let what = format!("task `{}` fetches nothing, so there is nowhere to send back to", built.name);
            return Err(Error::new(ErrorKind::Connector, what));
        };
        if origin.1.offers().redrive.is_none() {
            let hint = format!("run them through the task: `dead-letters replay {} --process`", built.name);
            return Err(unable(origin.0, "takes nothing back").with_hint(hint));
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

/// Whatever a connector says, the settings were good enough to begin: exit code 1.
fn failed(slot: Slot, error: &ConnectorError) -> Error {
    let said = connector_error(slot.name, slot.kind, error);
    Error::new(ErrorKind::Connector, said.to_string()).explained_like(&said, said.hint())
}

fn replays(letter: &Transaction) -> u64 {
    letter.metadata().get(key::REPLAYS).and_then(Value::as_u64).unwrap_or_default()
}

/// The value of a field, as `--where` names it.
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

/// The value under a path of keys and indices with dots between; a key may have dots of its own.
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

/// The payload as JSON; text, and else what can be read of it, where it is none or a value would lose its digits.
fn payload(letter: &Transaction) -> Value {
    let bytes = letter.payload().to_bytes().unwrap_or_default();
    json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into())
}
