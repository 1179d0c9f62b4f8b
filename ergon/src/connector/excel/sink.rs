//! Dispatching to a workbook, which appears whole when the sink is closed.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::kept::{self, Kept};
use super::partial::Partial;
use super::{Excel, ExcelConfig, lines, written};
use crate::connector::file::{place, shown, writable};
use crate::connector::{ConnectorError, Endpoint, Sink};
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
        // A write only copies to the system's memory, and sending it to another thread would cost more; not so where a
        // workbook is read first.
        if let Out::Open(partial) = &mut *lock(&self.out) {
            return partial.append(&transactions);
        }
        let (out, config) = (self.out.clone(), self.config.clone());
        let append = move || lock(&out).open(&config)?.append(&transactions);
        let appended = tokio::task::spawn_blocking(append).await;
        appended.map_err(|error| {
            ConnectorError::unknown("the write did not come to its end").with_source(error)
        })?
    }

    fn writes_to(&self) -> Vec<Endpoint> {
        vec![place(&self.config.path)]
    }
}

impl Excel {
    /// Opens the file of rows beside the workbook, unless it is open.
    pub(super) async fn start_writing(&self) -> Result<(), ConnectorError> {
        self.refuse_workers()?;
        let (out, config) = (self.out.clone(), self.config.clone());
        let opened = tokio::task::spawn_blocking(move || lock(&out).open(&config).map(drop)).await;
        opened.map_err(|error| ConnectorError::transient("the workbook was not opened").with_source(error))?
    }

    /// Finds out whether a run could begin, and leaves everything as it is.
    pub(super) async fn check_writing(&self) -> Result<(), ConnectorError> {
        self.refuse_workers()?;
        let config = self.config.clone();
        let checked = tokio::task::spawn_blocking(move || {
            let config = resolved(&config);
            prepare(&config)?;
            writable(&lines::beside(&config.path), true)
        });
        let checked = checked.await;
        checked
            .map_err(|error| ConnectorError::transient("the workbook was not checked").with_source(error))?
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
        let config = resolved(&self.config);
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
    fn open(&mut self, config: &ExcelConfig) -> Result<&mut Partial, ConnectorError> {
        if matches!(self, Self::Unopened) {
            let config = resolved(config);
            let kept = prepare(&config)?;
            *self = Self::Open(Box::new(Partial::open(&config, kept)?));
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
    partial.finish(|new| {
        if bytes > LARGE {
            let file = config.path.display();
            tracing::info!(%file, bytes, "a large workbook is being written: {}", nothing_is_lost(config));
        }
        written::write(config, new).map_err(|error| match error.hint() {
            Some(hint) => {
                let hint = format!("{hint}; {}", nothing_is_lost(config));
                error.with_hint(hint)
            }
            None => error.with_hint(nothing_is_lost(config)),
        })
    })
}

/// Finds what is wrong with the workbook and its path, and what is there to be kept.
fn prepare(config: &ExcelConfig) -> Result<Option<Kept>, ConnectorError> {
    written::check(config)?;
    if config.append { kept::read(config, &mut |_, _, _| Ok(())) } else { Ok(None) }
}

/// The config of the workbook itself, where its path is a link: a link is not replaced, and all paths of a workbook lead
/// to one file of rows.
fn resolved(config: &ExcelConfig) -> ExcelConfig {
    const MOST_LINKS: usize = 40;
    let mut path = config.path.to_path_buf();
    for _ in 0..MOST_LINKS {
        let Ok(next) = path.read_link() else { break };
        path = path.parent().unwrap_or(Path::new("")).join(next);
    }
    ExcelConfig { path: path.into(), ..config.clone() }
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
