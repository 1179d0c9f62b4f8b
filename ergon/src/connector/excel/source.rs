//! Fetching the rows of a sheet.

use std::sync::{Arc, OnceLock};

use super::header::Table;
use super::rows::{Row, Rows};
use super::workbook::open_workbook;
use super::{DateFormat, Excel, ExcelConfig};
use crate::connector::file::{Closed, Outlet, find, place};
use crate::connector::{
    ConnectorError, Context, Count, Delivery, Endpoint, FetchById, FetchRequest, Settlement, Shard, Source,
};
use crate::transaction::{Payload, Record, Transaction, TransactionBuilder};

impl Source for Excel {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        self.start_reading().await?;
        // The reader has read the header before it said that it is ready.
        let Some(table) = self.table.get() else { return Ok(Vec::new()) };
        if self.config.batch_mode {
            let make = |rows: &mut dyn Iterator<Item = Row>| self.bundle(table, rows);
            return self.feed.fetch(request.max(), request.batch_size(), make).await;
        }
        let make = |rows: &mut dyn Iterator<Item = Row>| rows.next().map(|row| self.single(table, row));
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

/// Counts rows; not offered in batch mode. The first count reads the sheet once more, beside the fetches.
impl Count for Excel {
    async fn count(&self) -> Result<u64, ConnectorError> {
        let total = self.total.get_or_try_init(|| async {
            let (config, shard) = (self.config.clone(), self.shard);
            let counted = tokio::task::spawn_blocking(move || count(&config, shard)).await;
            counted.map_err(|cause| ConnectorError::transient("rows not counted").with_source(cause))?
        });
        Ok(self.feed.pending(*total.await?))
    }
}

/// Not offered in batch mode; reads the sheet from its front.
impl FetchById for Excel {
    async fn fetch_by_id(&self, id: &str) -> Result<Option<Delivery>, ConnectorError> {
        let whole = Self::new(self.config.clone(), &Context::new("", "whole file"));
        self.feed.find(id, find(whole, id)).await
    }
}

impl Excel {
    pub(super) async fn start_reading(&self) -> Result<(), ConnectorError> {
        let (config, shard, table) = (self.config.clone(), self.shard, Arc::clone(&self.table));
        self.feed.start(move |outlet| read(&config, shard, &table, outlet)).await
    }

    fn single(&self, table: &Table, row: Row) -> Transaction {
        let made = Transaction::builder()
            .id(format!("{}!{}", table.sheet, row.number))
            .source(Arc::clone(&self.file))
            .metadata("row", row.number);
        self.place(made, table).payload(Payload::record(record(table, row))).build()
    }

    /// Says where rows are from; and of dates that are numbers, from which year the days are counted.
    fn place(&self, made: TransactionBuilder, table: &Table) -> TransactionBuilder {
        let made = made.metadata("sheet", &*table.sheet).metadata("file", &*self.file);
        match self.config.date_format {
            DateFormat::Iso => made,
            DateFormat::Serial => made.metadata("date_system", table.date_system),
        }
    }

    fn bundle(&self, table: &Table, rows: &mut dyn Iterator<Item = Row>) -> Option<Transaction> {
        let rows: Vec<Row> = rows.collect();
        let (first, last) = (rows.first()?.number, rows.last()?.number);
        let bundle = Transaction::builder()
            .id(format!("{}!{first}-{last}", table.sheet))
            .source(Arc::clone(&self.file))
            .metadata("row", first)
            .metadata("last_row", last)
            .metadata("rows", rows.len());
        let records = rows.into_iter().map(|row| record(table, row)).collect();
        Some(self.place(bundle, table).payload(Payload::records(records)).build())
    }
}

fn record(table: &Table, row: Row) -> Record {
    let names = Arc::clone(&table.names);
    match row.broken {
        None => Record::typed(names, row.cells),
        Some(reason) => Record::broken(names, row.cells, reason),
    }
}

fn read(
    config: &ExcelConfig,
    shard: Shard,
    table: &OnceLock<Table>,
    outlet: &mut Outlet<Row>,
) -> Result<Result<(), Closed>, ConnectorError> {
    let mut workbook = open_workbook(config)?;
    let mut rows = Rows::new(&mut workbook, config, shard)?;
    table.get_or_init(|| rows.table().clone());
    if outlet.ready().is_err() {
        return Ok(Err(Closed));
    }
    while let Some(row) = rows.next()? {
        let bytes = row.weight();
        if outlet.push(row, bytes).is_err() {
            return Ok(Err(Closed));
        }
    }
    if rows.more_below() {
        let (file, max_rows) = (config.path.to_string(), config.max_rows);
        tracing::warn!(file, max_rows, "rows below max_rows are left unread");
    }
    Ok(Ok(()))
}

fn count(config: &ExcelConfig, shard: Shard) -> Result<u64, ConnectorError> {
    let mut workbook = open_workbook(config)?;
    let mut rows = Rows::new(&mut workbook, config, shard)?;
    let mut count = 0;
    while rows.next()?.is_some() {
        count += 1;
    }
    Ok(count)
}
