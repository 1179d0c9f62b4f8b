//! Dispatching to a file, whole records only.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::records::Records;
use super::torn::ending;
use super::written::{Style, write};
use super::{Csv, CsvConfig};
use crate::connector::file::{
    AppendFile, Batch, Mode, cells, in_order, is_pipe, named, place, refuse_to_share,
};
use crate::connector::{ConnectorError, Endpoint, Shard, Sink};
use crate::transaction::Transaction;

/// The file that is written to, and its columns.
#[derive(Debug)]
pub(super) struct Out {
    file: AppendFile,
    config: CsvConfig,
    style: Style,
    /// Known from the first transaction on.
    names: Option<Arc<[String]>>,
}

impl Sink for Csv {
    async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        self.start_writing().await?;
        // Without fsync a write only copies to the system's memory; sending it to another thread would cost more.
        if !lock(&self.out).as_ref().is_some_and(|out| out.file.may_wait()) {
            return append(&self.out, &transactions);
        }
        let out = Arc::clone(&self.out);
        finished(tokio::task::spawn_blocking(move || append(&out, &transactions)).await)
    }

    fn writes_to(&self) -> Vec<Endpoint> {
        vec![place(&self.config.path)]
    }
}

impl Csv {
    /// Opens the file for writing, unless it is open.
    pub(super) async fn start_writing(&self) -> Result<(), ConnectorError> {
        let config = &self.config;
        if self.feed.is_closed() {
            return Err(ConnectorError::permanent(format!(
                "{} was closed before this dispatch",
                config.path
            )));
        }
        if lock(&self.out).is_some() {
            return Ok(());
        }
        if is_pipe(&config.path) {
            refuse_to_share(&config.path, self.shard)?;
        }
        let mode = Mode { create: config.create, append: config.append, fsync: config.fsync };
        let file = AppendFile::reach(&config.path, mode).await?;
        let style = Style { delimiter: self.delimiter, raw: config.raw };
        // Another dispatch may have been faster.
        lock(&self.out).get_or_insert(Out { file, config: config.clone(), style, names: None });
        Ok(())
    }

    /// Empties the file, if it is open and to be emptied.
    pub(super) fn begin_writing(&self) -> Result<(), ConnectorError> {
        lock(&self.out).as_mut().map_or(Ok(()), |out| out.file.begin())
    }

    pub(super) async fn finish_writing(&self) -> Result<(), ConnectorError> {
        let Some(mut out) = lock(&self.out).take() else { return Ok(()) };
        finished(tokio::task::spawn_blocking(move || out.file.finish()).await)
    }
}

impl Out {
    /// Writes the transactions that fit the columns, and says which do not.
    fn append(&mut self, transactions: &[Transaction]) -> Result<(), ConnectorError> {
        let mut batch = Batch::default();
        for transaction in transactions {
            batch.add(|line| self.line(transaction, line));
        }
        let (delimiter, max) = (self.style.delimiter, self.config.max_record.bytes());
        self.file.append(batch, |file, tail| ending(file, tail, delimiter, max))
    }

    fn line(&mut self, transaction: &Transaction, line: &mut Vec<u8>) -> Result<(), ConnectorError> {
        let cells = cells(transaction)?;
        let names = match &self.names {
            Some(names) => Arc::clone(names),
            None => self.decide_on(cells.keys().cloned().collect(), transaction)?,
        };
        let row = in_order(cells, &names, transaction)?;
        write(&row, self.style, line)
            .map_err(|error| ConnectorError::permanent("the record cannot be written").with_source(error))
    }

    /// Takes the columns of the file if it has some, else makes these its columns.
    fn decide_on(
        &mut self,
        names: Vec<String>,
        transaction: &Transaction,
    ) -> Result<Arc<[String]>, ConnectorError> {
        named(&names, transaction)?;
        let mut names: Arc<[String]> = names.into();
        if self.config.headers {
            let row: Vec<_> = names.iter().map(|name| name.as_str().into()).collect();
            let mut head = Vec::new();
            write(&row, self.style, &mut head).map_err(|error| {
                ConnectorError::permanent("the header cannot be written").with_source(error)
            })?;
            head.push(b'\n');
            if !self.file.head(&head)? {
                let there = Records::new(&self.config, self.style.delimiter, Shard::default())?;
                // The file itself may name its delimiter.
                self.style.delimiter = there.delimiter();
                names = there.names.iter().map(|name| self.style.meant(name).to_owned()).collect();
            }
        }
        self.names = Some(Arc::clone(&names));
        Ok(names)
    }
}

fn append(out: &Mutex<Option<Out>>, transactions: &[Transaction]) -> Result<(), ConnectorError> {
    match lock(out).as_mut() {
        Some(out) => out.append(transactions),
        None => Err(ConnectorError::permanent("the file was closed before this dispatch")),
    }
}

fn lock(out: &Mutex<Option<Out>>) -> MutexGuard<'_, Option<Out>> {
    out.lock().unwrap_or_else(PoisonError::into_inner)
}

fn finished(
    joined: Result<Result<(), ConnectorError>, tokio::task::JoinError>,
) -> Result<(), ConnectorError> {
    joined.map_err(|error| ConnectorError::unknown("the write did not come to its end").with_source(error))?
}
