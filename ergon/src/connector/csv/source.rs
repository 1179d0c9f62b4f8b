//! Fetching the records of a file.

use std::sync::Arc;

use super::records::{Line, Next, Records};
use super::{Csv, CsvConfig};
use crate::connector::file::{Closed, Outlet, find, numbered, place, refuse_to_share};
use crate::connector::{
    ConnectorError, Context, Count, Delivery, Endpoint, FetchById, FetchRequest, Settlement, Shard, Source,
};
use crate::transaction::{Payload, Record, Transaction};

impl Source for Csv {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        self.start_reading().await?;
        let make = |lines: &mut dyn Iterator<Item = Line>| lines.next().map(|line| self.transaction(line));
        self.feed.fetch(request.max(), 1, make).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        self.feed.settle(&settlements);
        Ok(())
    }

    fn reads_from(&self) -> Vec<Endpoint> {
        vec![place(&self.config.path)]
    }
}

/// The first count reads the file once more, beside the fetches.
impl Count for Csv {
    async fn count(&self) -> Result<u64, ConnectorError> {
        let total = self.total.get_or_try_init(|| async {
            let (config, delimiter, shard) = (self.config.clone(), self.delimiter, self.shard);
            let counted = tokio::task::spawn_blocking(move || count(&config, delimiter, shard)).await;
            counted.map_err(|cause| ConnectorError::transient("records not counted").with_source(cause))?
        });
        Ok(self.feed.pending(*total.await?))
    }
}

/// Reads the file from its front.
impl FetchById for Csv {
    async fn fetch_by_id(&self, id: &str) -> Result<Option<Delivery>, ConnectorError> {
        let whole = Self::new(self.config.clone(), self.delimiter, &Context::new("", "whole file"));
        self.feed.find(id, find(whole, id)).await
    }
}

impl Csv {
    pub(super) async fn start_reading(&self) -> Result<(), ConnectorError> {
        let (config, delimiter, shard) = (self.config.clone(), self.delimiter, self.shard);
        let follow = self.streaming;
        self.feed
            .start(move |outlet| {
                refuse_to_share(&config.path, shard)?;
                read(Records::source(&config, delimiter, shard, follow)?, outlet)
            })
            .await
    }

    fn transaction(&self, line: Line) -> Transaction {
        let made = Transaction::builder()
            .id(numbered(&self.file, line.file, line.number))
            .source(Arc::clone(&self.file))
            .metadata("file", &*self.file)
            .metadata("record", line.number)
            .metadata("line", line.begins);
        let Some(reason) = line.reason() else {
            return made.payload(Payload::record(Record::text(line.names, line.cells))).build();
        };
        let more = (line.names.len() + 1..=line.cells.len()).map(|column| format!("column_{column}"));
        let names: Vec<String> = line.names.iter().cloned().chain(more).collect();
        let cells = line.cells.into_iter().map(Into::into).collect();
        let record = Record::broken(names.into(), cells, format!("{reason}, in {}", self.file));
        let (place, raw) = line.broken.map_or((None, None), |broken| (broken.place, broken.raw));
        let record = match raw {
            Some(raw) => record.with_raw("text/csv".into(), raw),
            None => record,
        };
        let made = match place {
            Some((line, column)) => made.metadata("error_line", line).metadata("error_column", column),
            None => made,
        };
        made.payload(Payload::record(record)).build()
    }
}

fn read(mut records: Records<'_>, outlet: &mut Outlet<Line>) -> Result<Result<(), Closed>, ConnectorError> {
    if outlet.ready().is_err() {
        return Ok(Err(Closed));
    }
    loop {
        let closed = match records.next()? {
            Next::Record(line) => {
                let bytes = line.weight();
                outlet.push(line, bytes)
            }
            Next::Dry => {
                let asked = outlet.dry();
                records.turn()?;
                asked
            }
            Next::End => return Ok(Ok(())),
        };
        if closed.is_err() {
            return Ok(Err(Closed));
        }
    }
}

fn count(config: &CsvConfig, delimiter: u8, shard: Shard) -> Result<u64, ConnectorError> {
    let mut records = Records::new(config, delimiter, shard)?;
    let mut count = 0;
    while let Next::Record(_) = records.next()? {
        count += 1;
    }
    Ok(count)
}
