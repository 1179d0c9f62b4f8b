//! Looks at letters one by one, and replays those that are wanted.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::time::sleep;

use super::{End, failed, field_of, payload, replays};
use crate::cli::args::{LetterAction, Letters};
use crate::connector::{DeadLetterVisitor, Visit};
use crate::error::{Error, ErrorKind};
use crate::runner::Opened;
use crate::settings::suggest;
use crate::task::Stop;
use crate::telemetry::SingleReport;
use crate::transaction::{Content, Payload, Transaction, key};

/// How many names of fields are remembered, to suggest one.
const NAMES: usize = 200;

/// How a letter is replayed.
pub(super) enum Way {
    /// Not at all: only what would be replayed is said.
    Rehearsal,
    /// Back to its source.
    Back(End),
    /// Through the task, which has this grace when it is told to stop.
    Through(Arc<Opened>, Stop, Duration),
}

/// Looks for letters, and replays those that are wanted.
pub(super) struct Search<'a> {
    task: &'static str,
    wanted: &'a Letters,
    /// Of a replay.
    pub(super) way: Option<Way>,
    /// Whether those go that were replayed before; none if nothing is replayed.
    again: Option<bool>,
    /// Makes of a letter's payload what the source hands out, where JSON does not.
    pub(super) rows: Option<fn(Payload) -> Payload>,
    /// Those that are wanted; of a replay: that went.
    pub(super) found: Vec<Transaction>,
    /// Went through the task and were rejected again, and why.
    pub(super) rejected: Vec<(Transaction, String)>,
    /// Do not go, and why not.
    pub(super) skipped: Vec<(Transaction, Skipped)>,
    pub(super) failed: Vec<(Transaction, Error)>,
    /// Whether all letters were seen.
    pub(super) complete: bool,
    /// The ids of those that go.
    going: HashSet<String>,
    /// Whether a letter had the field of each condition.
    had: Vec<bool>,
    /// Whether there was any letter of the task.
    any: bool,
    names: BTreeSet<String>,
}

/// Why a letter does not go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skipped {
    /// It was replayed before, and rejected again.
    SentBefore,
    /// Another letter of its id goes: the same transaction must not come twice.
    TwinGoes,
}

impl<'a> Search<'a> {
    pub(super) fn new(task: &'static str, action: &'a LetterAction, way: Option<Way>) -> Self {
        let wanted = action.letters();
        let again = match action {
            LetterAction::Replay(replay) => Some(replay.again),
            LetterAction::List(_) | LetterAction::Show(_) => None,
        };
        Self {
            task,
            wanted,
            way,
            again,
            rows: None,
            found: Vec::new(),
            rejected: Vec::new(),
            skipped: Vec::new(),
            failed: Vec::new(),
            complete: false,
            going: HashSet::new(),
            had: vec![false; wanted.conditions.len()],
            any: false,
            names: BTreeSet::new(),
        }
    }

    /// Whether there is anything to tell of.
    pub(super) fn has_results(&self) -> bool {
        !(self.found.is_empty()
            && self.rejected.is_empty()
            && self.skipped.is_empty()
            && self.failed.is_empty())
    }

    /// Refuses a condition on a field that none of the letters has: it would match none, and look as if there were none.
    ///
    /// # Errors
    /// The first such field.
    pub(super) fn check_fields(&self) -> Result<(), Error> {
        if !self.any || !self.complete || self.has_results() {
            return Ok(());
        }
        let conditions = self.wanted.conditions.iter().zip(&self.had);
        let Some((condition, _)) = conditions.into_iter().find(|(_, had)| !**had) else { return Ok(()) };
        let field = &condition.field;
        let error = Error::new(ErrorKind::Usage, format!("no letter has the field `{field}`"));
        let whole = field.split('.').next().unwrap_or_default();
        let names = self.names.iter().map(String::as_str).filter(|name| name.starts_with(whole));
        Err(error.with_hint_if(suggest::hint(field, names.take(20))))
    }

    /// Several tasks may share one connector for their letters.
    fn wants(&mut self, letter: &Transaction) -> bool {
        if letter.metadata().text(key::TASK).is_some_and(|task| task != self.task) {
            return false;
        }
        self.any = true;
        let mut wanted = true;
        for (condition, had) in self.wanted.conditions.iter().zip(&mut self.had) {
            let found = field_of(letter, &condition.field);
            *had |= found.is_some();
            wanted &= found.is_some_and(|found| condition.holds(&found));
        }
        if !wanted && self.names.len() < NAMES {
            self.remember_names(letter);
        }
        wanted
    }

    fn remember_names(&mut self, letter: &Transaction) {
        let metadata = letter.metadata().iter().map(|(name, _)| format!("metadata.{name}"));
        self.names.extend(metadata);
        add_names("payload", &payload(letter), &mut self.names);
    }

    async fn look(&mut self, letter: Transaction) -> Visit {
        let went = self.found.len() + self.rejected.len() + self.failed.len();
        let stopped = matches!(&self.way, Some(Way::Through(_, stop, _)) if stop.drain.is_cancelled());
        if stopped || self.wanted.limit.is_some_and(|limit| went >= limit) {
            return Visit::Stop;
        }
        if !self.wants(&letter) {
            return Visit::Keep;
        }
        if self.again == Some(false)
            && let Some(why) = self.skips(&letter)
        {
            self.skipped.push((letter, why));
            return Visit::Keep;
        }
        let fate = match &self.way {
            Some(Way::Back(origin)) => send_back(origin, &letter).await.map(|()| Visit::Remove),
            Some(Way::Through(opened, stop, grace)) => {
                let done = self.process(&letter, opened, (stop.clone(), *grace)).await;
                match done {
                    Ok(Through::Rejected(why)) => {
                        self.going.insert(letter.id().to_owned());
                        self.rejected.push((letter, why));
                        return Visit::Remove;
                    }
                    Ok(Through::Done) => Ok(Visit::Remove),
                    Err(error) => Err(error),
                }
            }
            Some(Way::Rehearsal) | None => Ok(Visit::Keep),
        };
        match fate {
            Ok(fate) => {
                self.going.insert(letter.id().to_owned());
                self.found.push(letter);
                fate
            }
            Err(error) => {
                self.failed.push((letter, error));
                Visit::Keep
            }
        }
    }

    /// Asked of a rehearsal in the same words, so that it says what the replay would do.
    fn skips(&self, letter: &Transaction) -> Option<Skipped> {
        let twin = self.going.contains(letter.id()).then_some(Skipped::TwinGoes);
        twin.or_else(|| (replays(letter) > 0).then_some(Skipped::SentBefore))
    }

    /// Runs a letter through the task; says what became of it, or why it stays.
    async fn process(
        &self,
        letter: &Transaction,
        opened: &Opened,
        (stop, grace): (Stop, Duration),
    ) -> Result<Through, Error> {
        check_readable(letter)?;
        if letter.metadata().get(key::UNREADABLE).is_some() {
            return Err(Error::new(ErrorKind::Connector, "its row could not be read when it was fetched")
                .with_hint("correct the row where it came from, and run the task"));
        }
        let (drain, abort) = (stop.drain.clone(), stop.abort.clone());
        let too_late = async {
            drain.cancelled().await;
            sleep(grace).await;
            abort.cancel();
            std::future::pending::<SingleReport>().await
        };
        let processed = opened.process(revived(letter, self.rows), false, stop);
        let report = tokio::select! {
            report = processed => report,
            never = too_late => never,
        };
        let why =
            report.error.as_ref().map(|error| crate::telemetry::event::causes(error)).unwrap_or_default();
        match report.disposition {
            Some("ack") => Ok(Through::Done),
            Some("dead_letter") => Ok(Through::Rejected(why)),
            _ if why.is_empty() => Err(Error::new(ErrorKind::Task, "it was not processed")),
            _ => Err(Error::new(ErrorKind::Task, why)),
        }
    }
}

/// What became of a letter that went through the task.
enum Through {
    /// It succeeded, or its exception handler decided that it is done.
    Done,
    /// It was rejected, and lies among the letters again.
    Rejected(String),
}

impl DeadLetterVisitor for Search<'_> {
    fn takes(&self) -> bool {
        matches!(self.way, Some(Way::Back(_) | Way::Through(..)))
    }

    fn visit(&mut self, letter: Transaction) -> BoxFuture<'_, Visit> {
        Box::pin(self.look(letter))
    }
}

/// Only a line that is no letter comes as a record that does not decode.
fn check_readable(letter: &Transaction) -> Result<(), Error> {
    match letter.payload().content() {
        Content::Record(record) if record.is_broken() => {
            Err(Error::new(ErrorKind::Connector, "this is no letter that can be read"))
        }
        _ => Ok(()),
    }
}

async fn send_back((slot, connector): &End, letter: &Transaction) -> Result<(), Error> {
    let unreadable = || Error::new(ErrorKind::Connector, "this is no letter that can be read");
    let Some(origin) = connector.offers().redrive else { return Err(unreadable()) };
    if let Content::Record(_) = letter.payload().content() {
        return Err(unreadable());
    }
    origin.redrive(revived(letter, None)).await.map_err(|error| failed(*slot, &error))
}

/// The transaction as it was before it was rejected, but for the count of its returns.
fn revived(letter: &Transaction, rows: Option<fn(Payload) -> Payload>) -> Transaction {
    let of_the_letter = [key::ERROR, key::CATEGORY, key::ATTEMPTS, key::TASK, key::REPLAYS, key::UNREADABLE];
    let kept = letter.metadata().iter().filter(|(name, _)| !of_the_letter.contains(name));
    let kept = kept.map(|(name, value)| (name.to_owned(), value.clone()));
    let counted = kept.chain([(key::REPLAYS.to_owned(), Value::from(replays(letter).saturating_add(1)))]);
    let payload = letter.payload().clone();
    let mut revived = Transaction::builder()
        .id(letter.id())
        .payload(rows.map_or(payload.clone(), |rows| rows(payload)))
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

/// Adds the paths of all keys in a value.
fn add_names(path: &str, value: &Value, names: &mut BTreeSet<String>) {
    let Value::Object(entries) = value else { return };
    for (key, value) in entries {
        if names.len() >= NAMES {
            return;
        }
        let path = format!("{path}.{key}");
        add_names(&path, value, names);
        names.insert(path);
    }
}
