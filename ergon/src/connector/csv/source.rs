//! The source side of a CSV file: opens the file, and makes a transaction of each record.

use std::sync::Arc;

use super::CsvFormat;
use super::records::{Line, Records};
use crate::connector::kit::file::{
    ReadError, ReadRequest, RecordSender, record_transaction_id, refuse_to_share,
};
use crate::transaction::{Payload, Record, Transaction};

/// Opens the file and sends its records.
pub(super) fn read(
    format: &CsvFormat,
    request: &ReadRequest,
    records: &mut RecordSender<Line>,
) -> Result<(), ReadError> {
    let CsvFormat { config, delimiter, .. } = format;
    let mut parser = if request.count {
        Records::new(config, *delimiter, request.shard)?
    } else {
        refuse_to_share(&config.path, request.shard)?;
        Records::source(config, *delimiter, request.shard, request.follow)?
    };
    records.send_all(&mut parser)
}

/// Makes a transaction of a record.
pub(super) fn transaction(format: &CsvFormat, line: Line) -> Transaction {
    let made = Transaction::builder()
        .id(record_transaction_id(&format.file, line.file, line.number))
        .source(Arc::clone(&format.file))
        .metadata("file", &*format.file)
        .metadata("record", line.number)
        .metadata("line", line.begins);
    let Some(reason) = line.reason() else {
        return made.payload(Payload::record(Record::of_text(line.names, line.cells))).build();
    };
    let more = (line.names.len() + 1..=line.cells.len()).map(|column| format!("column_{column}"));
    let names: Vec<String> = line.names.iter().cloned().chain(more).collect();
    let cells = line.cells.iter().map(Into::into).collect();
    let record = Record::broken(names.into(), cells, format!("{reason}, in {}", format.file));
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
