//! Fetching the records of a file.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::records::{Line, Records};
use super::{Csv, CsvConfig};
use crate::connector::file::{Closed, Outlet, find, place, refuse_to_share};
use crate::connector::{
    ConnectorError, Context, Count, Delivery, FetchById, FetchRequest, Place, Settlement, Shard, Source,
};
use crate::transaction::{Payload, Record, Transaction};

impl Source for Csv {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        self.start_reading().await?;
        // The reader has read the header before it said that it is ready.
        let Some(names) = self.names.get() else { return Ok(Vec::new()) };
        let make =
            |lines: &mut dyn Iterator<Item = Line>| lines.next().map(|line| self.transaction(names, line));
        self.feed.fetch(request.max(), 1, make).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        self.feed.settle(&settlements);
        Ok(())
    }

    fn origins(&self) -> Vec<Place> {
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
        let names = Arc::clone(&self.names);
        self.feed
            .start(move |outlet| {
                refuse_to_share(&config.path, shard)?;
                read(Records::new(&config, delimiter, shard)?, &names, outlet)
            })
            .await
    }

    fn transaction(&self, names: &Arc<[String]>, line: Line) -> Transaction {
        let made = Transaction::builder()
            .id(format!("{}:{}", self.file, line.number))
            .source(Arc::clone(&self.file))
            .metadata("file", &*self.file)
            .metadata("record", line.number)
            .metadata("line", line.begins);
        let record = match line.broken {
            None => Record::text(Arc::clone(names), line.cells),
            Some(reason) => {
                let more = (names.len() + 1..=line.cells.len()).map(|column| format!("column_{column}"));
                let names: Vec<String> = names.iter().cloned().chain(more).collect();
                let cells = line.cells.into_iter().map(Into::into).collect();
                let record = Record::broken(names.into(), cells, format!("{reason}, in {}", self.file));
                match line.raw {
                    Some(raw) => record.with_raw("text/csv".into(), raw),
                    None => record,
                }
            }
        };
        made.payload(Payload::record(record)).build()
    }
}

fn read(
    mut records: Records<'_>,
    names: &OnceLock<Arc<[String]>>,
    outlet: &mut Outlet<Line>,
) -> Result<Result<(), Closed>, ConnectorError> {
    names.get_or_init(|| Arc::clone(&records.names));
    if outlet.ready().is_err() {
        return Ok(Err(Closed));
    }
    while let Some(line) = records.next()? {
        let raw = line.raw.as_ref().map_or(0, Bytes::len);
        let bytes = line.cells.iter().map(String::len).sum::<usize>() + raw;
        if outlet.push(line, bytes).is_err() {
            return Ok(Err(Closed));
        }
    }
    Ok(Ok(()))
}

fn count(config: &CsvConfig, delimiter: u8, shard: Shard) -> Result<u64, ConnectorError> {
    let mut records = Records::new(config, delimiter, shard)?;
    let mut count = 0;
    while records.next()?.is_some() {
        count += 1;
    }
    Ok(count)
}
