//! The statements of one queue.
//!
//! All queues of a file share one table. `visible_at` says where a row is in its life, in microseconds since 1970:
//!
//! | `visible_at` | `owner` | the row |
//! |---|---|---|
//! | 0 | none | waits for a claim |
//! | a time | none | is returned by a disposition with a wait, and waits until then |
//! | a time | a connector | is claimed; the lease ends then |
//!
//! A claim first sets every time that has passed to 0, so a row whose wait or lease is over is claimed in the order in
//! which it was dispatched. A settlement names the row, its owner and its delivery count, so a connector that has lost a
//! lease changes nothing, even if the same connector has claimed the row again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::row::{self, COLUMNS, NewRow, ReadRow, micros, micros_after};
use crate::connector::Disposition;

/// The version of the tables.
pub(super) const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE queue (
        number INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE message (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        queue INTEGER NOT NULL REFERENCES queue (number),
        visible_at INTEGER NOT NULL,
        owner INTEGER,
        deliveries INTEGER NOT NULL DEFAULT 0,
        id TEXT NOT NULL,
        content_type TEXT,
        payload BLOB NOT NULL,
        metadata TEXT,
        parent_id TEXT,
        correlation_id TEXT,
        created_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX message_by_time ON message (queue, visible_at);
";

/// Makes the tables, or brings them to this version; returns the version that the file has.
pub(super) fn migrate(connection: &Connection) -> rusqlite::Result<i64> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    // Our own tables have a number of their own, because a program may keep tables in the same file.
    connection.execute_batch("CREATE TABLE IF NOT EXISTS ergon_schema (version INTEGER NOT NULL) STRICT")?;
    let found: Option<i64> =
        connection.query_row("SELECT version FROM ergon_schema", [], |row| row.get(0)).optional()?;
    if found.is_none() {
        connection.execute_batch(TABLES)?;
        connection.execute("INSERT INTO ergon_schema (version) VALUES (?1)", [VERSION])?;
    }
    connection.execute_batch("COMMIT")?;
    Ok(found.unwrap_or(VERSION))
}

/// One queue of a file, as one connector sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queue {
    number: i64,
    dead_letter: Option<i64>,
    /// Tells the claims of this connector from those of all others: a random number.
    owner: i64,
}

/// What settles a row: its number, and the delivery that was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    seq: i64,
    deliveries: u32,
}

impl Token {
    pub(super) fn of(row: &ReadRow) -> Self {
        Self { seq: row.seq, deliveries: row.deliveries }
    }
}

/// What a claim returned.
#[derive(Debug)]
pub(super) struct Claimed {
    /// In the order in which they were dispatched.
    pub(super) rows: Vec<ReadRow>,
    /// When the next row becomes visible, if none was claimed: the end of a wait or of a lease.
    pub(super) next: Option<i64>,
}

/// A settlement of one row.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) token: Token,
    pub(super) disposition: Disposition,
    /// Metadata of the dead letter, if the row becomes one and they differ from those it has.
    pub(super) annotated: Option<String>,
}

/// A claim: how many rows at most, and until when.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) max: usize,
    pub(super) lease: Duration,
    pub(super) source: Arc<str>,
}

impl Queue {
    /// Finds a queue by its name, or makes it; its dead-letter queue too.
    pub(super) fn find(
        connection: &Connection,
        name: &str,
        dead_letter: Option<&str>,
    ) -> rusqlite::Result<Self> {
        let number = |name: &str| {
            connection.execute("INSERT INTO queue (name) VALUES (?1) ON CONFLICT DO NOTHING", [name])?;
            connection.query_row("SELECT number FROM queue WHERE name = ?1", [name], |row| row.get(0))
        };
        let dead_letter = dead_letter.map(number).transpose()?;
        Ok(Self { number: number(name)?, dead_letter, owner: fastrand::i64(..) })
    }

    /// Claims rows for the length of a lease.
    pub(super) fn claim(self, connection: &Connection, claim: &Claim) -> rusqlite::Result<Claimed> {
        self.wake(connection)?;
        let mut statement = connection.prepare_cached(&format!(
            "UPDATE message SET visible_at = ?1, owner = ?2, deliveries = deliveries + 1
             WHERE seq IN (SELECT seq FROM message WHERE queue = ?3 AND visible_at = 0 ORDER BY seq LIMIT ?4)
             RETURNING {COLUMNS}"
        ))?;
        let max = i64::try_from(claim.max).unwrap_or(i64::MAX);
        let claimed = params![micros_after(claim.lease), self.owner, self.number, max];
        let mut rows = statement
            .query_map(claimed, |row| row::read(row, &claim.source))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        // `RETURNING` promises no order.
        rows.sort_unstable_by_key(|row| row.seq);
        let next = if rows.is_empty() { self.next(connection)? } else { None };
        Ok(Claimed { rows, next })
    }

    /// Claims the row of an id, if it waits.
    pub(super) fn claim_id(
        self,
        connection: &Connection,
        id: &str,
        claim: &Claim,
    ) -> rusqlite::Result<Option<ReadRow>> {
        self.wake(connection)?;
        let mut statement = connection.prepare_cached(&format!(
            "UPDATE message SET visible_at = ?1, owner = ?2, deliveries = deliveries + 1
             WHERE seq = (SELECT seq FROM message WHERE queue = ?3 AND visible_at = 0 AND id = ?4 ORDER BY seq LIMIT 1)
             RETURNING {COLUMNS}"
        ))?;
        let claimed = params![micros_after(claim.lease), self.owner, self.number, id];
        statement.query_row(claimed, |row| row::read(row, &claim.source)).optional()
    }

    /// Makes rows visible whose wait or lease is over.
    fn wake(self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(
            "UPDATE message SET visible_at = 0, owner = NULL
             WHERE queue = ?1 AND visible_at > 0 AND visible_at <= ?2",
        )?;
        statement.execute(params![self.number, micros(SystemTime::now())])?;
        Ok(())
    }

    fn next(self, connection: &Connection) -> rusqlite::Result<Option<i64>> {
        let mut statement = connection
            .prepare_cached("SELECT min(visible_at) FROM message WHERE queue = ?1 AND visible_at > 0")?;
        statement.query_row([self.number], |row| row.get(0))
    }

    /// Settles rows; returns the indices of those whose lease was lost.
    pub(super) fn settle(
        self,
        connection: &Connection,
        verdicts: &[Verdict],
    ) -> rusqlite::Result<Vec<usize>> {
        let mut lost = Vec::new();
        for (index, Verdict { token, disposition, annotated }) in verdicts.iter().enumerate() {
            let held = match (disposition, self.dead_letter) {
                (Disposition::Ack, _) | (Disposition::Reject, None) => self.remove(connection, *token)?,
                (Disposition::Reject, Some(to)) => {
                    self.reject(connection, *token, to, annotated.as_deref())?
                }
                (Disposition::Requeue, _) => self.make_visible(connection, *token, 0)?,
                (Disposition::RetryAfter(wait), _) => {
                    self.make_visible(connection, *token, micros_after(*wait))?
                }
            };
            if !held {
                lost.push(index);
            }
        }
        Ok(lost)
    }

    fn remove(self, connection: &Connection, Token { seq, deliveries }: Token) -> rusqlite::Result<bool> {
        let mut statement = connection
            .prepare_cached("DELETE FROM message WHERE seq = ?1 AND owner = ?2 AND deliveries = ?3")?;
        Ok(statement.execute(params![seq, self.owner, deliveries])? == 1)
    }

    /// Moves a row to the dead-letter queue, in one statement, so that no crash loses or doubles it.
    fn reject(
        self,
        connection: &Connection,
        Token { seq, deliveries }: Token,
        to: i64,
        annotated: Option<&str>,
    ) -> rusqlite::Result<bool> {
        let mut statement = connection.prepare_cached(
            "UPDATE message SET queue = ?4, visible_at = 0, owner = NULL, deliveries = 0,
                 metadata = coalesce(?5, metadata)
             WHERE seq = ?1 AND owner = ?2 AND deliveries = ?3",
        )?;
        Ok(statement.execute(params![seq, self.owner, deliveries, to, annotated])? == 1)
    }

    fn make_visible(
        self,
        connection: &Connection,
        Token { seq, deliveries }: Token,
        at: i64,
    ) -> rusqlite::Result<bool> {
        let mut statement = connection.prepare_cached(
            "UPDATE message SET visible_at = ?4, owner = NULL WHERE seq = ?1 AND owner = ?2 AND deliveries = ?3",
        )?;
        Ok(statement.execute(params![seq, self.owner, deliveries, at])? == 1)
    }

    /// Extends leases; returns the indices of those that are lost.
    pub(super) fn extend(
        self,
        connection: &Connection,
        tokens: &[Token],
        lease: Duration,
    ) -> rusqlite::Result<Vec<usize>> {
        let ends = micros_after(lease);
        let mut statement = connection.prepare_cached(
            "UPDATE message SET visible_at = ?4 WHERE seq = ?1 AND owner = ?2 AND deliveries = ?3",
        )?;
        let mut lost = Vec::new();
        for (index, Token { seq, deliveries }) in tokens.iter().enumerate() {
            if statement.execute(params![seq, self.owner, deliveries, ends])? == 0 {
                lost.push(index);
            }
        }
        Ok(lost)
    }

    /// Makes all claims of this connector visible again.
    pub(super) fn release(self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(
            "UPDATE message SET visible_at = 0, owner = NULL WHERE queue = ?1 AND visible_at > 0 AND owner = ?2",
        )?;
        statement.execute(params![self.number, self.owner])?;
        Ok(())
    }

    /// Adds rows at the end of the queue.
    pub(super) fn add(self, connection: &Connection, rows: &[NewRow]) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(
            "INSERT INTO message (queue, visible_at, id, content_type, payload, metadata, parent_id, correlation_id,
                 created_at)
             VALUES (?1, 0, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        rows.iter().try_for_each(|row| self.insert(&mut statement, row))
    }

    fn insert(self, statement: &mut Statement<'_>, row: &NewRow) -> rusqlite::Result<()> {
        statement.execute(params![
            self.number,
            row.id,
            row.content_type,
            row.payload.as_ref(),
            row.metadata,
            row.parent_id,
            row.correlation_id,
            row.created_at,
        ])?;
        Ok(())
    }

    /// Counts the rows that a claim could take now.
    pub(super) fn count(self, connection: &Connection) -> rusqlite::Result<i64> {
        let mut statement = connection
            .prepare_cached("SELECT count(*) FROM message WHERE queue = ?1 AND visible_at <= ?2")?;
        statement.query_row(params![self.number, micros(SystemTime::now())], |row| row.get(0))
    }

    /// The numbers of all rows that wait, in order.
    pub(super) fn waiting(self, connection: &Connection) -> rusqlite::Result<Vec<i64>> {
        self.wake(connection)?;
        let mut statement = connection
            .prepare_cached("SELECT seq FROM message WHERE queue = ?1 AND visible_at = 0 ORDER BY seq")?;
        statement.query_map([self.number], |row| row.get(0))?.collect()
    }

    /// Reads a row that waits, without claiming it; `None` if it is gone or claimed.
    pub(super) fn peek(
        self,
        connection: &Connection,
        seq: i64,
        source: &Arc<str>,
    ) -> rusqlite::Result<Option<ReadRow>> {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM message WHERE seq = ?1 AND queue = ?2 AND visible_at = 0"
        ))?;
        statement.query_row(params![seq, self.number], |row| row::read(row, source)).optional()
    }

    /// Deletes a row that waits; says whether it was there.
    pub(super) fn delete(self, connection: &Connection, seq: i64) -> rusqlite::Result<bool> {
        let mut statement = connection
            .prepare_cached("DELETE FROM message WHERE seq = ?1 AND queue = ?2 AND visible_at = 0")?;
        Ok(statement.execute(params![seq, self.number])? == 1)
    }
}
