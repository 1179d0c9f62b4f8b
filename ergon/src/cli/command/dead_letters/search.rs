//! Visits dead letters one by one, and replays the selected ones.

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

/// The number of field names that are kept for suggestions.
const NAMES: usize = 200;

/// The way of a replay.
pub(super) enum Way {
    /// No replay: the command only prints what it would replay.
    Rehearsal,
    /// Back to its source.
    Back(End),
    /// Through the task, with this grace after a stop.
    Through(Arc<Opened>, Stop, Duration),
}

/// Selects dead letters, and replays them.
pub(super) struct Search<'a> {
    task: &'static str,
    wanted: &'a Letters,
    /// The way of a replay; none for `list` and `show`.
    pub(super) way: Option<Way>,
    /// Whether dead letters that were replayed before are replayed; none if nothing is replayed.
    again: Option<bool>,
    /// Converts the payload of a dead letter to the source's own form, where JSON is not that form.
    pub(super) rows: Option<fn(Payload) -> Payload>,
    /// The selected dead letters; of a replay, the replayed ones.
    pub(super) found: Vec<Transaction>,
    /// Dead letters that the task rejected again, with the reasons.
    pub(super) rejected: Vec<(Transaction, String)>,
    /// Dead letters that are not replayed, with the reasons.
    pub(super) skipped: Vec<(Transaction, Skipped)>,
    pub(super) failed: Vec<(Transaction, Error)>,
    /// Whether all dead letters were visited.
    pub(super) complete: bool,
    /// The ids of the replayed dead letters.
    going: HashSet<String>,
    /// For each condition, whether a dead letter had its field.
    had: Vec<bool>,
    /// Whether the task has any dead letter.
    any: bool,
    names: BTreeSet<String>,
}

/// The reason why a dead letter is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skipped {
    /// It was replayed before, and rejected again.
    SentBefore,
    /// Another dead letter with its id is replayed: the same transaction must not be delivered twice.
    SameId,
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

    /// Whether there is any result.
    pub(super) fn has_results(&self) -> bool {
        !(self.found.is_empty()
            && self.rejected.is_empty()
            && self.skipped.is_empty()
            && self.failed.is_empty())
    }

    /// Checks that each condition is on a field that some dead letter has. Otherwise a misspelt field would look as if there
    /// were no dead letter.
    ///
    /// # Errors
    /// The first field that no dead letter has.
    pub(super) fn check_fields(&self) -> Result<(), Error> {
        if !self.any || !self.complete || self.has_results() {
            return Ok(());
        }
        let conditions = self.wanted.conditions.iter().zip(&self.had);
        let Some((condition, _)) = conditions.into_iter().find(|(_, had)| !**had) else { return Ok(()) };
        let field = &condition.field;
        let error = Error::new(ErrorKind::Usage, format!("no dead letter has the field `{field}`"));
        let whole = field.split('.').next().unwrap_or_default();
        let names = self.names.iter().map(String::as_str).filter(|name| name.starts_with(whole));
        Err(error.with_hint_if(suggest::hint(field, names.take(20))))
    }

    /// Whether a dead letter is selected. Several tasks may share one dead-letter connector.
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

    /// The reason to skip a dead letter. A dry run asks too, so that it prints what the replay would do.
    fn skips(&self, letter: &Transaction) -> Option<Skipped> {
        let same_id = self.going.contains(letter.id()).then_some(Skipped::SameId);
        same_id.or_else(|| (replays(letter) > 0).then_some(Skipped::SentBefore))
    }

    /// Processes a dead letter with the task. Returns its outcome, or the reason why it is kept.
    async fn process(
        &self,
        letter: &Transaction,
        opened: &Opened,
        (stop, grace): (Stop, Duration),
    ) -> Result<Through, Error> {
        check_readable(letter)?;
        if letter.metadata().get(key::UNREADABLE).is_some() {
            return Err(Error::new(ErrorKind::Connector, "its row could not be read when it was fetched")
                .with_hint("correct the row in its source, and run the task"));
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

/// The outcome of a dead letter that the task processed.
enum Through {
    /// It succeeded, or its exception handler acknowledged it.
    Done,
    /// It was rejected, and is a dead letter again.
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

/// Checks that a dead letter can be read. An invalid line is visited as a record that does not decode.
fn check_readable(letter: &Transaction) -> Result<(), Error> {
    match letter.payload().content() {
        Content::Record(record) if record.is_broken() => {
            Err(Error::new(ErrorKind::Connector, "this dead letter cannot be read"))
        }
        _ => Ok(()),
    }
}

async fn send_back((slot, connector): &End, letter: &Transaction) -> Result<(), Error> {
    let unreadable = || Error::new(ErrorKind::Connector, "this dead letter cannot be read");
    let Some(origin) = connector.offers().redrive else { return Err(unreadable()) };
    if let Content::Record(_) = letter.payload().content() {
        return Err(unreadable());
    }
    origin.redrive(revived(letter, None)).await.map_err(|error| failed(*slot, &error))
}

/// The transaction as it was before it was rejected, except for the count of its replays.
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
