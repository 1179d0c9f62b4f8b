//! Odd files and odd moments: nothing of a file is skipped, and what cannot be written is said when it is dispatched.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::time::Duration;

use ergon::prelude::*;
use ergon::testing;
use ergon_tests::{LogConfig, LogService};

const MS: Duration = Duration::from_millis(1);

#[tokio::test]
async fn a_mark_before_the_first_line_takes_none_of_its_room() {
    #[ergon::task(connectors(input), services(log), consumer())]
    struct Lin;
    impl Consumer for Lin {
        type Payload = u64;
        type Output = ();
        async fn process_transaction(&self, n: &Transaction<u64>) -> Result<()> {
            self.log_service.say(format!("{}={}", n.id(), n.payload()));
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    std::fs::write(&path, "\u{feff}1234567890123456\n7\n").unwrap();
    let config: JsonLinesConfig =
        serde_json::from_value(serde_json::json!({"path": path, "max_line": "16B"})).unwrap();
    let log = LogConfig::default();
    testing::run(Lin::config(LinWiring { input: config, log: log.clone() })).await.unwrap();
    assert_eq!(log.all(), ["a.jsonl:1=1234567890123456", "a.jsonl:2=7"]);
}

#[tokio::test]
async fn a_file_that_is_slow_to_open_is_not_an_empty_one() {
    #[ergon::task(connectors(input: Duplex), services(log), consumer(fetch(timeout = "50ms", max_attempts = 20)))]
    struct C;
    #[derive(serde::Deserialize)]
    struct Row {
        id: u32,
    }
    impl Consumer for C {
        type Payload = Row;
        type Output = ();
        async fn process_transaction(&self, n: &Transaction<Row>) -> Result<()> {
            self.log_service.say(n.payload().id.to_string());
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let to = path.clone();
    std::thread::spawn(move || {
        std::thread::sleep(300 * MS);
        std::fs::write(to, "id\n1\n2\n").unwrap();
    });
    let log = LogConfig::default();
    testing::run(C::config(CWiring { input: CsvConfig::new(path), log: log.clone() })).await.unwrap();
    assert_eq!(log.all(), ["1", "2"]);
}

#[tokio::test]
async fn what_no_cell_can_hold_is_refused_when_it_is_dispatched() {
    use ergon::connector::{Connector, ConnectorConfig, Context, Sink, Usage};
    for payload in [
        serde_json::json!({"id": 1, "items": vec!["x".repeat(100); 400]}),
        serde_json::json!({"id": 1, ("n".repeat(40_000)): 1}),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.xlsx");
        let mut context = Context::new("t", "output");
        context.usage = Usage::Sink;
        let sink = ExcelConfig::new(path).build(&context).unwrap();
        sink.open().await.unwrap();
        assert!(sink.dispatch(vec![Transaction::new("a", &payload).unwrap()]).await.is_err());
        sink.close().await.unwrap();
    }
}
