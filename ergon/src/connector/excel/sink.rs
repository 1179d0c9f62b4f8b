//! Writes rows to a workbook, which is complete when the sink is closed.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::existing::{self, Existing};
use super::partial::{self, Partial};
use super::{ExcelConfig, lines, writer};
use crate::connector::kit::file::{AppendFile, Encoder, Ending, Tail, check_writable, display_path};
use crate::connector::{ConnectorError, Shard};
use crate::transaction::Transaction;

/// The time limit for finishing a workbook without rows.
const LEAST_TO_FINISH: Duration = Duration::from_secs(30);
/// The bytes of rows that the slowest machine finishes in a second. An ordinary machine is a hundred times as fast.
const BYTES_A_SECOND: u64 = 100 << 10;
/// The size of a workbook from which the log announces that it is being written, because that takes a while.
const LARGE: u64 = 64 << 20;

/// Encodes transactions as rows, and writes the workbook at the end.
#[derive(Debug)]
pub struct RowEncoder {
    config: ExcelConfig,
    partial: Partial,
}

/// Opens the file of rows next to the workbook.
pub(super) async fn open(
    config: &ExcelConfig,
    shard: Shard,
) -> Result<(AppendFile, RowEncoder), ConnectorError> {
    refuse_workers(shard)?;
    let config = resolved(config);
    // The workbook is read first.
    let opened = spawn_blocking(move || {
        let (file, partial) = Partial::open(&config, prepare(&config)?)?;
        Ok((file, RowEncoder { config, partial }))
    });
    opened
        .await
        .map_err(|error| ConnectorError::transient("the workbook was not opened").with_source(error))?
}

/// Checks whether a run could start, and changes nothing.
pub(super) async fn check(config: &ExcelConfig, shard: Shard) -> Result<(), ConnectorError> {
    refuse_workers(shard)?;
    let config = resolved(config);
    let checked = spawn_blocking(move || {
        prepare(&config)?;
        check_writable(&lines::beside(&config.path), true)
    });
    checked
        .await
        .map_err(|error| ConnectorError::transient("the workbook was not checked").with_source(error))?
}

fn refuse_workers(shard: Shard) -> Result<(), ConnectorError> {
    let workers = shard.count;
    if workers <= 1 {
        return Ok(());
    }
    Err(ConnectorError::permanent(format!("{workers} workers cannot write to one workbook"))
        .with_hint("set `workers = 1`, or write to a file of JSON lines or CSV"))
}

impl Encoder for RowEncoder {
    fn encode(
        &mut self,
        transaction: &Transaction,
        line: &mut Vec<u8>,
        file: &mut AppendFile,
    ) -> Result<bool, ConnectorError> {
        self.partial.encode(transaction, line, file)
    }

    fn ending(&self, _: &File, tail: Tail) -> io::Result<Ending> {
        Ok(partial::ending(tail))
    }

    /// Lets `close` finish the workbook. A run that cannot start leaves the rows of an unfinished workbook in their
    /// file.
    fn start(&mut self) {
        self.partial.start();
    }

    fn finish(self, file: AppendFile) -> Result<(), ConnectorError> {
        finish(&self.config, self.partial, file)
    }

    /// Returns the time limit for finishing the workbook, which grows with the number of rows.
    fn finish_timeout(&self) -> Duration {
        LEAST_TO_FINISH + Duration::from_secs(self.partial.bytes() / BYTES_A_SECOND)
    }

    fn not_finished(&self, limit: Duration) -> ConnectorError {
        let (workbook, limit) = (display_path(&self.config.path), limit.as_secs());
        let message = format!("{workbook} was not finished within {limit} seconds");
        ConnectorError::permanent(message).with_hint(nothing_is_lost(&self.config))
    }
}

fn finish(config: &ExcelConfig, partial: Partial, file: AppendFile) -> Result<(), ConnectorError> {
    let bytes = partial.bytes();
    partial.finish(file, |new| {
        if bytes > LARGE {
            let file = config.path.display();
            tracing::info!(%file, bytes, "a large workbook is being written: {}", nothing_is_lost(config));
        }
        writer::write(config, new).map_err(|error| match error.hint() {
            Some(hint) => {
                let hint = format!("{hint}; {}", nothing_is_lost(config));
                error.with_hint(hint)
            }
            None => error.with_hint(nothing_is_lost(config)),
        })
    })
}

/// Checks the workbook and its path, and finds the content to keep.
fn prepare(config: &ExcelConfig) -> Result<Option<Existing>, ConnectorError> {
    writer::check(config)?;
    if config.append { existing::read(config, &mut |_, _, _| Ok(())) } else { Ok(None) }
}

/// Resolves a link to its workbook, because a link is not replaced, and all paths of a workbook lead to one file of
/// rows.
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
    let partial = display_path(&lines::beside(&config.path));
    format!(
        "until it is whole its rows stand in {partial}, and the next run goes on with them: nothing is lost"
    )
}
