//! A transaction as a row of the table `message`, and back.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Row;
use serde_json::{Map, Value};

use crate::connector::ConnectorError;
use crate::transaction::{Bytes, ContentType, Metadata, Payload, Transaction};

/// The columns that [`read`] expects, in order.
pub(super) const COLUMNS: &str =
    "seq, deliveries, id, content_type, payload, metadata, parent_id, correlation_id, created_at";

/// What a new row holds of a transaction.
#[derive(Debug)]
pub(super) struct NewRow {
    pub(super) id: String,
    /// `None` is JSON, the type of most payloads.
    pub(super) content_type: Option<String>,
    pub(super) payload: Bytes,
    /// A JSON object; `None` if it is empty.
    pub(super) metadata: Option<String>,
    pub(super) parent_id: Option<String>,
    /// `None` if it is the id.
    pub(super) correlation_id: Option<String>,
    pub(super) created_at: i64,
}

impl NewRow {
    /// Makes a row of a transaction.
    ///
    /// # Errors
    /// A payload that has no form as bytes, such as a cell with an error of Excel.
    pub(super) fn of(transaction: &Transaction) -> Result<Self, ConnectorError> {
        let id = transaction.id();
        let payload = transaction.payload().to_bytes().map_err(|error| {
            ConnectorError::permanent(format!("transaction `{id}` cannot be written: {error}"))
        })?;
        let content_type = transaction.payload().content_type();
        let correlation_id = transaction.correlation_id();
        Ok(Self {
            id: id.to_owned(),
            content_type: (*content_type != ContentType::Json).then(|| content_type.as_str().to_owned()),
            payload,
            metadata: metadata_text(transaction.metadata()),
            parent_id: transaction.parent_id().map(str::to_owned),
            correlation_id: (correlation_id != id).then(|| correlation_id.to_owned()),
            created_at: micros(transaction.created_at()),
        })
    }
}

/// Metadata as JSON; `None` if there are none.
pub(super) fn metadata_text(metadata: &Metadata) -> Option<String> {
    if metadata.is_empty() {
        return None;
    }
    let object: Map<String, Value> =
        metadata.iter().map(|(key, value)| (key.to_owned(), value.clone())).collect();
    Some(Value::Object(object).to_string())
}

/// A row that a claim returned.
#[derive(Debug)]
pub(super) struct ReadRow {
    pub(super) seq: i64,
    pub(super) deliveries: u32,
    pub(super) transaction: Transaction,
}

/// Reads the [`COLUMNS`] of a row.
///
/// # Errors
/// A column of another type than this program writes.
pub(super) fn read(row: &Row<'_>, source: &Arc<str>) -> rusqlite::Result<ReadRow> {
    let (seq, deliveries): (i64, u32) = (row.get(0)?, row.get(1)?);
    let content_type: Option<String> = row.get(3)?;
    let content_type = content_type.map_or(ContentType::Json, |name| ContentType::from(name.as_str()));
    let payload: Vec<u8> = row.get(4)?;
    let mut builder = Transaction::builder()
        .id(row.get::<_, String>(2)?)
        .payload(Payload::bytes(content_type, payload))
        .source(Arc::clone(source))
        .created_at(time(row.get(8)?))
        .deliveries(deliveries);
    if let Some(text) = row.get::<_, Option<String>>(5)?
        && let Ok(Value::Object(object)) = serde_json::from_str(&text)
    {
        for (key, value) in object {
            builder = builder.metadata(key, value);
        }
    }
    if let Some(parent) = row.get::<_, Option<String>>(6)? {
        builder = builder.parent_id(parent);
    }
    if let Some(correlation) = row.get::<_, Option<String>>(7)? {
        builder = builder.correlation_id(correlation);
    }
    Ok(ReadRow { seq, deliveries, transaction: builder.build() })
}

/// A time as microseconds since 1970; a time before it is 0.
pub(super) fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn time(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros.unsigned_abs())
}

/// The end of a time that begins now, as microseconds since 1970.
pub(super) fn micros_after(wait: Duration) -> i64 {
    let wait = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    micros(SystemTime::now()).saturating_add(wait)
}
