//! `dead-letters`: what a task rejected, and the way back to where it came from.

mod told;

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::run::{no_threads, refused};
use crate::cli::args::{DeadLetters, Format, LetterAction, Letters};
use crate::cli::output::Output;
use crate::cli::project::Project;
use crate::connector::{AnyConnector, ConnectorError, LetterFate, Shard, Visitor};
use crate::error::{Error, ErrorKind};
use crate::runner::{Built, Exit, runtime};
use crate::task::{Slot, connector_error};
use crate::transaction::{Content, Transaction, json, key};

/// Shows dead letters, or sends them back.
///
/// # Errors
/// A task that is not there, a connector that cannot do what is asked of it, or letters that cannot be seen.
pub(crate) fn dead_letters(
    project: &Project,
    command: &DeadLetters,
    format: Format,
    output: &Output,
) -> Result<Exit, Error> {
    let (letters, way) = match &command.action {
        LetterAction::List(letters) | LetterAction::Show(letters) => (letters, None),
        LetterAction::Replay(replay) => (&replay.letters, Some((replay.dry_run, replay.again))),
    };
    let config = project.find(&letters.task)?;
    let built = match project.plain(config).build(Shard::default()) {
        Ok(built) => built,
        Err(errors) => return Ok(refused(&errors, output)),
    };
    let ends = Ends::of(&built, way.is_some())?;
    let mut search = Search::new(config.name(), letters, way, ends.origin.clone());
    let runtime = runtime().map_err(no_threads)?;
    let seen = runtime.block_on(async {
        let seen = ends.visit(&mut search).await;
        ends.close().await.and(seen)
    });
    runtime.shutdown_background();
    // What was sent back before the letters could no longer be seen is told as well.
    if seen.is_ok() || !(search.found.is_empty() && search.skipped.is_empty() && search.failed.is_empty()) {
        output.data(&told::told(&search, &command.action, format))?;
        output.talk(&told::summary(&search, &ends));
    }
    seen?;
    Ok(if search.failed.is_empty() { Exit::Success } else { Exit::Failure })
}

/// A connector, and the slot it is wired to.
type End = (Slot, Arc<dyn AnyConnector>);

/// The connectors that letters lie in and go back to.
struct Ends {
    letters: End,
    origin: Option<End>,
}

impl Ends {
    fn of(built: &Built, replay: bool) -> Result<Self, Error> {
        let Some(letters) = built.dead_letter() else {
            let what = format!("task `{}` names no connector for what it rejects", built.name);
            let role = if built.policies.consumer.is_some() { "consumer" } else { "producer" };
            return Err(Error::new(ErrorKind::Connector, what)
                .with_hint(format!("wire one and name it: `{role}(dead_letter = ...)`")));
        };
        if letters.1.offers().letters.is_none() {
            return Err(unable(letters.0, "cannot show what lies in it")
                .with_hint("json-lines, rabbitmq and memory can"));
        }
        if !replay {
            return Ok(Self { letters, origin: None });
        }
        let Some(origin) = built.origin() else {
            let what = format!("task `{}` fetches nothing, so there is nowhere to send back to", built.name);
            return Err(Error::new(ErrorKind::Connector, what));
        };
        if origin.1.offers().take_back.is_none() {
            return Err(unable(origin.0, "takes nothing back").with_hint(
                "run one by hand: `dead-letters show --format json`, then `process-transaction --payload-json`",
            ));
        }
        Ok(Self { letters, origin: Some(origin) })
    }

    async fn visit(&self, search: &mut Search<'_>) -> Result<(), Error> {
        let (slot, connector) = &self.letters;
        match connector.offers().letters {
            Some(letters) => letters.visit(search).await.map_err(|error| failed(*slot, &error)),
            None => Ok(()),
        }
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
    let made = Error::new(ErrorKind::Connector, said.to_string());
    let made = match std::error::Error::source(&said) {
        Some(cause) => made.with_source(cause.to_string()),
        None => made,
    };
    match said.hint() {
        Some(hint) => made.with_hint(hint),
        None => made,
    }
}

/// Looks for letters, and sends back those that are wanted.
struct Search<'a> {
    task: &'static str,
    wanted: &'a Letters,
    /// To be sent back: whether only as a rehearsal, and whether also those that were sent back before.
    way: Option<(bool, bool)>,
    origin: Option<End>,
    /// Those that are wanted; of a replay: that were sent back.
    found: Vec<Transaction>,
    /// Do not go back, and why not.
    skipped: Vec<(Transaction, Skipped)>,
    failed: Vec<(Transaction, Error)>,
    /// The ids of those that go back.
    going: HashSet<String>,
}

/// Why a letter does not go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skipped {
    /// It was sent back before, and rejected again.
    SentBefore,
    /// Another letter of its id goes back: the same transaction must not come twice.
    TwinGoes,
}

impl<'a> Search<'a> {
    fn new(task: &'static str, wanted: &'a Letters, way: Option<(bool, bool)>, origin: Option<End>) -> Self {
        let (found, skipped, failed) = (Vec::new(), Vec::new(), Vec::new());
        Self { task, wanted, way, origin, found, skipped, failed, going: HashSet::new() }
    }

    /// Several tasks may share one connector for their letters.
    fn wants(&self, letter: &Transaction) -> bool {
        let own = letter.metadata().text(key::TASK).is_none_or(|task| task == self.task);
        own && self.wanted.conditions.iter().all(|(field, value)| {
            let found = field_of(letter, field).map(|found| match found {
                Value::String(text) => text,
                other => other.to_string(),
            });
            found.is_some_and(|found| found == *value)
        })
    }

    async fn look(&mut self, letter: Transaction) -> LetterFate {
        let enough = self.wanted.limit.is_some_and(|limit| self.found.len() + self.failed.len() >= limit);
        if enough {
            return LetterFate::Enough;
        }
        if !self.wants(&letter) {
            return LetterFate::Kept;
        }
        if matches!(self.way, Some((_, false)))
            && let Some(why) = self.skips(&letter)
        {
            self.skipped.push((letter, why));
            return LetterFate::Kept;
        }
        let fate = match self.way {
            Some((false, _)) => self.send_back(&letter).await,
            Some((true, _)) | None => Ok(LetterFate::Kept),
        };
        match fate {
            Ok(fate) => {
                self.going.insert(letter.id().to_owned());
                self.found.push(letter);
                fate
            }
            Err(error) => {
                self.failed.push((letter, error));
                LetterFate::Kept
            }
        }
    }

    /// Asked of a rehearsal in the same words, so that it says what the replay would do.
    fn skips(&self, letter: &Transaction) -> Option<Skipped> {
        let twin = self.going.contains(letter.id()).then_some(Skipped::TwinGoes);
        twin.or_else(|| (replays(letter) > 0).then_some(Skipped::SentBefore))
    }

    async fn send_back(&self, letter: &Transaction) -> Result<LetterFate, Error> {
        let unreadable = || Error::new(ErrorKind::Connector, "this is no letter that can be read");
        let Some((slot, connector)) = &self.origin else { return Err(unreadable()) };
        let Some(origin) = connector.offers().take_back else { return Err(unreadable()) };
        // Only a line that is no letter comes as a record.
        if let Content::Record(_) = letter.payload().content() {
            return Err(unreadable());
        }
        origin.take_back(revived(letter)).await.map_err(|error| failed(*slot, &error))?;
        Ok(LetterFate::Taken)
    }
}

impl Visitor for Search<'_> {
    fn takes(&self) -> bool {
        matches!(self.way, Some((false, _)))
    }

    fn visit(&mut self, letter: Transaction) -> BoxFuture<'_, LetterFate> {
        Box::pin(self.look(letter))
    }
}

fn replays(letter: &Transaction) -> u64 {
    letter.metadata().get(key::REPLAYS).and_then(Value::as_u64).unwrap_or_default()
}

/// The transaction as it was before it was rejected, but for the count of its returns.
fn revived(letter: &Transaction) -> Transaction {
    let of_the_letter = [key::ERROR, key::CATEGORY, key::ATTEMPTS, key::TASK, key::REPLAYS];
    let kept = letter.metadata().iter().filter(|(name, _)| !of_the_letter.contains(name));
    let kept = kept.map(|(name, value)| (name.to_owned(), value.clone()));
    let counted = kept.chain([(key::REPLAYS.to_owned(), Value::from(replays(letter).saturating_add(1)))]);
    let mut revived = Transaction::builder()
        .id(letter.id())
        .payload(letter.payload().clone())
        .all_metadata(counted.collect())
        .created_at(letter.created_at());
    if let Some(parent) = letter.parent_id() {
        revived = revived.parent_id(parent);
    }
    if letter.correlation_id() != letter.id() {
        revived = revived.correlation_id(letter.correlation_id());
    }
    revived.build()
}

/// The value of a field, as `--where` names it.
fn field_of(letter: &Transaction, field: &str) -> Option<Value> {
    let metadata = |name: &str| letter.metadata().get(name).cloned();
    match field.split_once('.') {
        Some(("payload", path)) => {
            let payload = payload(letter);
            path.split('.').try_fold(&payload, |value, part| value.get(part)).cloned()
        }
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

/// The payload as JSON; text, and else what can be read of it, where it is none or a value would lose its digits.
fn payload(letter: &Transaction) -> Value {
    let bytes = letter.payload().to_bytes().unwrap_or_default();
    json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into())
}
