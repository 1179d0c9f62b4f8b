//! Dispatching to a workbook, which appears whole when the sink is closed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::partial::Partial;
use super::{Excel, ExcelConfig, lines, written};
use crate::connector::file::{place, shown};
use crate::connector::{ConnectorError, Place, Sink};
use crate::transaction::Transaction;

/// How long a workbook without rows may take to be finished.
const LEAST_TO_FINISH: Duration = Duration::from_secs(30);
/// How many bytes of rows are finished in a second by the slowest of machines; an ordinary one is a hundred times as
/// fast.
const BYTES_A_SECOND: u64 = 100 << 10;
/// What is told of a workbook before it is written, because it takes a while.
const LARGE: u64 = 64 << 20;

/// The file of rows, from the first dispatch or `open` on.
#[derive(Debug, Default)]
pub(super) enum Out {
    #[default]
    Unopened,
    Open(Box<Partial>),
    Closed,
}

impl Sink for Excel {
    async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        self.refuse_workers()?;
        if let Some(appended) = self.append_at_once(&transactions) {
            return appended;
        }
        let (out, config, resumes) = (self.out.clone(), self.config.clone(), self.resumes);
        let append = move || lock(&out).open(&config, resumes)?.append(&transactions);
        let appended = tokio::task::spawn_blocking(append).await;
        appended.map_err(|error| {
            ConnectorError::unknown("the write did not come to its end").with_source(error)
        })?
    }

    fn destinations(&self) -> Vec<Place> {
        vec![place(&self.config.path)]
    }
}

impl Excel {
    /// Writes unless that may take its time. A write only copies to the system's memory, and sending it to another
    /// thread would cost more; not so where a workbook is copied first, or somebody else is at that.
    fn append_at_once(&self, transactions: &[Transaction]) -> Option<Result<(), ConnectorError>> {
        let mut out = if self.resumes { self.out.try_lock().ok()? } else { lock(&self.out) };
        match out.open(&self.config, self.resumes) {
            Ok(partial) if partial.may_wait() => None,
            Ok(partial) => Some(partial.append(transactions)),
            Err(error) => Some(Err(error)),
        }
    }

    /// Opens the file of rows beside the workbook, unless it is open.
    pub(super) fn start_writing(&self) -> Result<(), ConnectorError> {
        self.refuse_workers()?;
        lock(&self.out).open(&self.config, self.resumes).map(drop)
    }

    /// Takes in that the run takes place: from now on, closing finishes the workbook.
    pub(super) fn begin_writing(&self) {
        if let Out::Open(partial) = &mut *lock(&self.out) {
            partial.begin();
        }
    }

    fn refuse_workers(&self) -> Result<(), ConnectorError> {
        let workers = self.shard.count;
        if workers <= 1 {
            return Ok(());
        }
        Err(ConnectorError::permanent(format!("{workers} workers cannot write to one workbook"))
            .with_hint("set `workers = 1`, or write to a file of JSON lines or CSV"))
    }

    /// How long the workbook may take to be finished: the longer, the more rows there are.
    pub(super) fn finishes_within(&self) -> Duration {
        match &*lock(&self.out) {
            Out::Open(partial) => LEAST_TO_FINISH + Duration::from_secs(partial.bytes() / BYTES_A_SECOND),
            Out::Unopened | Out::Closed => LEAST_TO_FINISH,
        }
    }

    pub(super) async fn finish_writing(&self) -> Result<(), ConnectorError> {
        let limit = self.finishes_within();
        let Out::Open(partial) = std::mem::replace(&mut *lock(&self.out), Out::Closed) else { return Ok(()) };
        let config = self.config.clone();
        let finishing = tokio::task::spawn_blocking(move || finish(&config, *partial));
        match tokio::time::timeout(limit, finishing).await {
            Ok(finished) => finished.map_err(|error| {
                ConnectorError::unknown("the workbook was not finished").with_source(error)
            })?,
            Err(_) => {
                let (workbook, limit) = (shown(&self.config.path), limit.as_secs());
                let message = format!("{workbook} was not finished within {limit} seconds");
                Err(ConnectorError::permanent(message).with_hint(nothing_is_lost(&self.config)))
            }
        }
    }
}

impl Out {
    fn open(&mut self, config: &ExcelConfig, resumes: bool) -> Result<&mut Partial, ConnectorError> {
        if matches!(self, Self::Unopened) {
            written::check(config)?;
            *self = Self::Open(Box::new(Partial::open(config, resumes)?));
        }
        match self {
            Self::Open(partial) => Ok(partial),
            Self::Unopened | Self::Closed => {
                Err(ConnectorError::permanent(format!("{} was closed before this dispatch", config.path)))
            }
        }
    }
}

fn finish(config: &ExcelConfig, partial: Partial) -> Result<(), ConnectorError> {
    let bytes = partial.bytes();
    partial.finish(|names, rows| {
        if bytes > LARGE {
            let file = config.path.display();
            tracing::info!(%file, bytes, "a large workbook is being written: {}", nothing_is_lost(config));
        }
        written::write(config, names, rows).map_err(|error| match error.hint() {
            Some(hint) => {
                let hint = format!("{hint}; {}", nothing_is_lost(config));
                error.with_hint(hint)
            }
            None => error.with_hint(nothing_is_lost(config)),
        })
    })
}

fn nothing_is_lost(config: &ExcelConfig) -> String {
    let partial = shown(&lines::beside(&config.path));
    format!(
        "until it is whole its rows stand in {partial}, and the next run goes on with them: nothing is lost"
    )
}

fn lock(out: &Mutex<Out>) -> MutexGuard<'_, Out> {
    out.lock().unwrap_or_else(PoisonError::into_inner)
}
