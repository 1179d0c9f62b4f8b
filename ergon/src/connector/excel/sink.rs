//! Dispatching to a workbook, which appears whole when the sink is closed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::partial::Partial;
use super::{Excel, ExcelConfig, written};
use crate::connector::file::place;
use crate::connector::{ConnectorError, Place, Sink};
use crate::transaction::Transaction;

impl Sink for Excel {
    async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        self.start_writing()?;
        // The write only copies to the system's memory; sending it to another thread would cost more.
        match lock(&self.out).as_mut() {
            Some(partial) => partial.append(&transactions),
            None => Err(closed(&self.config)),
        }
    }

    fn destinations(&self) -> Vec<Place> {
        vec![place(&self.config.path)]
    }
}

impl Excel {
    /// Opens the file of rows beside the workbook, unless it is open.
    pub(super) fn start_writing(&self) -> Result<(), ConnectorError> {
        if self.feed.is_closed() {
            return Err(closed(&self.config));
        }
        let workers = self.shard.count;
        if workers > 1 {
            return Err(ConnectorError::permanent(format!("{workers} workers cannot write to one workbook"))
                .with_hint("set `workers = 1`, or write to a file of JSON lines or CSV"));
        }
        let mut out = lock(&self.out);
        if out.is_none() {
            written::check(&self.config)?;
            *out = Some(Partial::open(&self.config.path, self.config.header_row)?);
        }
        Ok(())
    }

    pub(super) async fn finish_writing(&self) -> Result<(), ConnectorError> {
        let Some(partial) = lock(&self.out).take() else { return Ok(()) };
        let config = self.config.clone();
        let finished = tokio::task::spawn_blocking(move || finish(&config, partial)).await;
        finished
            .map_err(|error| ConnectorError::unknown("the workbook was not finished").with_source(error))?
    }
}

fn finish(config: &ExcelConfig, partial: Partial) -> Result<(), ConnectorError> {
    if let Some((names, rows)) = partial.lines()? {
        written::write(config, &names, rows)?;
    }
    partial.remove()
}

fn closed(config: &ExcelConfig) -> ConnectorError {
    ConnectorError::permanent(format!("{} was closed before this dispatch", config.path))
}

fn lock(out: &Arc<Mutex<Option<Partial>>>) -> MutexGuard<'_, Option<Partial>> {
    out.lock().unwrap_or_else(PoisonError::into_inner)
}
