//! The SQLite queue next to bare `rusqlite` with statements of the same shape, in the same run, interleaved.
//!
//! `cargo bench -p ergon --bench sqlite --features sqlite` prints a table; `-- --json` prints one JSON line for each
//! row. Each round fills a new file with transactions of 256 bytes, and then claims and settles all of them in batches
//! of 64. Both sides commit with `synchronous=FULL`. Each figure is the median of the rounds.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark prints and may fail"
)]
#![allow(
    missing_docs,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::wildcard_imports,
    reason = "figures for people"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use ergon::connector::sqlite::SqliteConfig;
use ergon::prelude::*;
use ergon::testing;
use ergon::transaction::Payload;
use rusqlite::{Connection, params};

const MESSAGES: usize = 50_000;
const BATCH: usize = 64;
const ROUNDS: usize = 5;

#[derive(Debug, Deserialize)]
struct Order {
    #[allow(dead_code, reason = "only decoding it matters")]
    note: String,
}

#[ergon::task(connectors(input), consumer(concurrency = 64, batch_size = 64))]
struct Take;

impl Consumer for Take {
    type Payload = Order;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<Order>) -> Result<()> {
        Ok(())
    }
}

fn body() -> String {
    format!("{{\"note\":\"{}\"}}", "x".repeat(244))
}

/// A queue in a table as one writes it by hand: claim a batch in one commit, delete it in the next.
mod bare {
    use super::*;

    pub(super) fn filled(path: &Path) -> Connection {
        let connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "synchronous", "FULL").unwrap();
        connection
            .execute_batch(
                "CREATE TABLE message (seq INTEGER PRIMARY KEY, queue INTEGER NOT NULL, visible_at INTEGER NOT NULL,
                     owner INTEGER, deliveries INTEGER NOT NULL DEFAULT 0, id TEXT NOT NULL, payload BLOB NOT NULL);
                 CREATE INDEX message_by_time ON message (queue, visible_at);",
            )
            .unwrap();
        connection
    }

    pub(super) fn dispatch(connection: &Connection) {
        let body = body();
        for batch in 0..MESSAGES / BATCH {
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            let mut insert = connection
                .prepare_cached("INSERT INTO message (queue, visible_at, id, payload) VALUES (1, 0, ?1, ?2)")
                .unwrap();
            for n in 0..BATCH {
                insert.execute(params![format!("m-{}", batch * BATCH + n), body.as_bytes()]).unwrap();
            }
            connection.execute_batch("COMMIT").unwrap();
        }
    }

    pub(super) fn consume(connection: &Connection) {
        loop {
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            let claimed: Vec<(i64, String, Vec<u8>)> = connection
                .prepare_cached(
                    "UPDATE message SET visible_at = ?1, owner = 7, deliveries = deliveries + 1
                     WHERE seq IN (SELECT seq FROM message WHERE queue = 1 AND visible_at = 0 ORDER BY seq LIMIT 64)
                     RETURNING seq, id, payload",
                )
                .unwrap()
                .query_map([i64::MAX], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .unwrap()
                .collect::<rusqlite::Result<_>>()
                .unwrap();
            connection.execute_batch("COMMIT").unwrap();
            if claimed.is_empty() {
                return;
            }
            for (_, _, payload) in &claimed {
                let _: Order = serde_json::from_slice(payload).unwrap();
            }
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            let mut delete = connection
                .prepare_cached("DELETE FROM message WHERE seq = ?1 AND owner = 7 AND deliveries = 1")
                .unwrap();
            for (seq, _, _) in &claimed {
                delete.execute([seq]).unwrap();
            }
            connection.execute_batch("COMMIT").unwrap();
        }
    }
}

/// The connector alone, and under the engine.
mod ours {
    use super::*;
    use ergon::connector::prelude::*;
    use ergon::connector::sqlite::Sqlite;

    pub(super) async fn opened(path: &Path) -> Sqlite {
        let queue = SqliteConfig::new(path, "orders").build(&Context::new("bench", "input")).unwrap();
        queue.open().await.unwrap();
        queue
    }

    pub(super) async fn dispatch(queue: &Sqlite) {
        let payload = Payload::bytes(ContentType::Json, body());
        for batch in 0..MESSAGES / BATCH {
            let transaction = |n| {
                let id = format!("m-{}", batch * BATCH + n);
                Transaction::builder().id(id).payload(payload.clone()).build()
            };
            queue.dispatch((0..BATCH).map(transaction).collect()).await.unwrap();
        }
    }

    pub(super) async fn consume(queue: &Sqlite) {
        loop {
            let deliveries = queue.fetch(&FetchRequest::new(BATCH)).await.unwrap();
            if deliveries.is_empty() {
                return;
            }
            let settle = |delivery: Delivery| {
                let _: Order = delivery.transaction().decode().unwrap();
                delivery.settle(Disposition::Ack)
            };
            queue.settle(deliveries.into_iter().map(settle).collect()).await.unwrap();
        }
    }
}

/// What a round measured, in the order of [`ROWS`].
type Times = [Duration; 5];

const ROWS: [(&str, usize); 5] = [
    ("dispatch, bare rusqlite", 0),
    ("dispatch, connector", 0),
    ("claim and settle, bare rusqlite", 2),
    ("claim and settle, connector", 2),
    ("claim and settle, engine", 2),
];

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn round(runtime: &tokio::runtime::Runtime) -> Times {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let connection = bare::filled(&path("bare.db"));
    let bare_dispatch = timed(|| bare::dispatch(&connection));
    let bare_consume = timed(|| bare::consume(&connection));
    let queue = runtime.block_on(ours::opened(&path("ours.db")));
    let dispatch = timed(|| runtime.block_on(ours::dispatch(&queue)));
    let consume = timed(|| runtime.block_on(ours::consume(&queue)));
    runtime.block_on(ours::dispatch(&queue));
    let task = || Take::config(TakeWiring { input: SqliteConfig::new(path("ours.db"), "orders") });
    let engine = timed(|| {
        let report = runtime.block_on(testing::run(task())).unwrap();
        assert_eq!(report.tally.succeeded, (MESSAGES / BATCH * BATCH) as u64);
    });
    [bare_dispatch, dispatch, bare_consume, consume, engine]
}

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let rounds: Vec<Times> = (0..ROUNDS).map(|_| round(&runtime)).collect();
    let median = |row: usize| {
        let mut times: Vec<Duration> = rounds.iter().map(|times| times[row]).collect();
        times.sort_unstable();
        times[ROUNDS / 2]
    };
    for (row, (what, floor)) in ROWS.iter().enumerate() {
        let rate = MESSAGES as f64 / median(row).as_secs_f64();
        let ratio = median(*floor).as_secs_f64() / median(row).as_secs_f64();
        if json {
            println!("{{\"what\":\"{what}\",\"per_second\":{rate:.0},\"of_bare\":{ratio:.2}}}");
        } else {
            println!("{what:<34}{rate:>12.0}/s{ratio:>8.2} x bare");
        }
    }
}
