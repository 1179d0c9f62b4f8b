//! Dispatching to a file, whole lines only.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{JsonLines, line};
use crate::connector::file::{AppendFile, Batch, Mode, is_pipe, json_ending, refuse_to_share};
use crate::connector::{ConnectorError, Endpoint, Sink};
use crate::transaction::Transaction;

impl Sink for JsonLines {
    async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        let mut batch = Batch::default();
        for transaction in &transactions {
            batch.add(|line| {
                line::write(transaction, self.config.envelope, line).map_err(|error| {
                    let id = transaction.id();
                    ConnectorError::permanent(format!("transaction `{id}` cannot be written as JSON"))
                        .with_source(error)
                })
            });
        }
        self.start_writing().await?;
        // Without fsync a write only copies to the system's memory; sending it to another thread would cost more.
        if !lock(&self.out).as_ref().is_some_and(AppendFile::may_wait) {
            return append(&self.out, batch);
        }
        let out = Arc::clone(&self.out);
        finished(tokio::task::spawn_blocking(move || append(&out, batch)).await)
    }

    fn writes_to(&self) -> Vec<Endpoint> {
        vec![self.config.place("standard output")]
    }
}

impl JsonLines {
    /// Opens the file for writing, unless it is open.
    pub(super) async fn start_writing(&self) -> Result<(), ConnectorError> {
        if self.feed.is_closed() {
            return Err(ConnectorError::permanent(format!(
                "{} was closed before this dispatch",
                self.config.path
            )));
        }
        if lock(&self.out).is_some() {
            return Ok(());
        }
        let config = &self.config;
        let opened = if config.is_standard_stream() {
            AppendFile::stdout()?
        } else {
            if is_pipe(&config.path) {
                refuse_to_share(&config.path, self.shard)?;
            }
            let mode = Mode { create: config.create, append: config.append, fsync: config.fsync };
            AppendFile::reach(&config.path, mode).await?
        };
        // Another dispatch may have been faster.
        lock(&self.out).get_or_insert(opened);
        Ok(())
    }

    /// Empties the file, if it is open and to be emptied.
    pub(super) fn begin_writing(&self) -> Result<(), ConnectorError> {
        lock(&self.out).as_mut().map_or(Ok(()), AppendFile::begin)
    }

    pub(super) async fn finish_writing(&self) -> Result<(), ConnectorError> {
        let Some(mut file) = lock(&self.out).take() else { return Ok(()) };
        finished(tokio::task::spawn_blocking(move || file.finish()).await)
    }
}

fn append(out: &Mutex<Option<AppendFile>>, batch: Batch) -> Result<(), ConnectorError> {
    match lock(out).as_mut() {
        Some(file) => file.append(batch, json_ending),
        None => Err(ConnectorError::permanent("the file was closed before this dispatch")),
    }
}

fn lock(out: &Mutex<Option<AppendFile>>) -> MutexGuard<'_, Option<AppendFile>> {
    out.lock().unwrap_or_else(PoisonError::into_inner)
}

fn finished(
    joined: Result<Result<(), ConnectorError>, tokio::task::JoinError>,
) -> Result<(), ConnectorError> {
    joined.map_err(|error| ConnectorError::unknown("the write did not come to its end").with_source(error))?
}
