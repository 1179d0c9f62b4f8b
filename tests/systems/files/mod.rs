//! Tests unusual files and unusual moments: no record is skipped, and a dispatch reports a record that cannot be written.

mod buffers;
#[cfg(unix)]
mod pipes;
#[cfg(unix)]
mod sinks;
#[cfg(unix)]
mod workbooks;

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
    use ergon::connector::{Connector, ConnectorConfig, Context, Direction, Sink};
    for payload in [
        serde_json::json!({"id": 1, "items": vec!["x".repeat(100); 400]}),
        serde_json::json!({"id": 1, ("n".repeat(40_000)): 1}),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.xlsx");
        let mut context = Context::new("t", "output");
        context.direction = Direction::Sink;
        let sink = ExcelConfig::new(path).build(&context).unwrap();
        sink.open().await.unwrap();
        assert!(sink.dispatch(vec![Transaction::new("a", &payload).unwrap()]).await.is_err());
        sink.close().await.unwrap();
    }
}

mod following {
    use std::fs::{File, rename};
    use std::io::Write;
    use std::path::Path;

    use super::*;

    #[ergon::task(connectors(input: Duplex), services(log), consumer(streaming))]
    struct Follow;
    impl Consumer for Follow {
        type Payload = Value;
        type Output = ();
        async fn process_transaction(&self, it: &Transaction<Value>) -> Result<()> {
            self.log_service.say(format!("{}={}", it.id(), it.payload()["n"]));
            Ok(())
        }
    }

    fn add(path: &Path, text: &str) {
        File::options().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits until this many transactions were processed. The time limit of the test ends a wait that never ends.
    async fn come(log: &LogConfig, count: usize) -> Vec<String> {
        while log.all().len() < count {
            tokio::time::sleep(MS).await;
        }
        log.all()
    }

    macro_rules! started {
        ($config:expr, $log:expr) => {
            testing::start(Follow::config(FollowWiring { input: $config, log: $log.clone() })).await.unwrap()
        };
    }

    #[tokio::test]
    async fn lines_that_are_added_to_a_file_are_taken_when_they_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        add(&path, "{\"n\":1}\n{\"n\":");
        let log = LogConfig::default();
        let running = started!(JsonLinesConfig::new(path.clone()), log);
        assert_eq!(come(&log, 1).await, ["a.jsonl:1=1"]);
        add(&path, "2}");
        add(&path, "\n{\"n\":3}\n");
        assert_eq!(come(&log, 3).await[1..], ["a.jsonl:2=2", "a.jsonl:3=3"]);
        running.stop();
        assert_eq!(running.wait().await.unwrap().tally.succeeded, 3);
    }

    #[tokio::test]
    async fn the_file_that_takes_the_place_of_a_followed_one_is_read_and_nothing_is_missed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        add(&path, "{\"n\":1}\n");
        let log = LogConfig::default();
        let running = started!(JsonLinesConfig::new(path.clone()), log);
        come(&log, 1).await;
        let mut writer = File::options().append(true).open(&path).unwrap();
        rename(&path, dir.path().join("a.jsonl.1")).unwrap();
        writer.write_all(b"{\"n\":2}\n{\"n\":3}").unwrap();
        add(&path, "{\"n\":4}\n");
        assert_eq!(come(&log, 4).await[1..], ["a.jsonl:2=2", "a.jsonl:3=3", "a.jsonl#2:1=4"]);
        // Emptied, and immediately longer than before.
        std::fs::write(&path, "{\"n\":50000}\n{\"n\":60000}\n").unwrap();
        assert_eq!(come(&log, 6).await[4..], ["a.jsonl#3:1=50000", "a.jsonl#3:2=60000"]);
        running.stop();
        running.wait().await.unwrap();
    }

    #[tokio::test]
    async fn records_of_a_csv_file_are_followed_from_before_its_header_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        add(&path, "");
        let log = LogConfig::default();
        let running = started!(CsvConfig::new(path.clone()), log);
        add(&path, "k,");
        add(&path, "n\n1,\"a\n");
        add(&path, "b\"\n2,c");
        assert_eq!(come(&log, 1).await, ["a.csv:1=\"a\\nb\""]);
        add(&path, "d\n");
        assert_eq!(come(&log, 2).await[1..], ["a.csv:2=\"cd\""]);
        std::fs::write(&path, "n,k\ne,3\n").unwrap();
        assert_eq!(come(&log, 3).await[2..], ["a.csv#2:1=\"e\""]);
        running.stop();
        running.wait().await.unwrap();
    }

    #[tokio::test]
    async fn a_workbook_is_not_followed() {
        let log = LogConfig::default();
        let config = Follow::config(FollowWiring { input: ExcelConfig::new("a.xlsx"), log });
        let error = testing::start(config).await.unwrap_err();
        assert!(error.to_string().contains("a workbook cannot be followed"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("streaming")), "{error:?}");
    }
}

#[tokio::test]
async fn a_stray_quote_swallows_no_record() {
    #[ergon::task(connectors(input), services(log), consumer())]
    struct Read;
    impl Consumer for Read {
        type Payload = Value;
        type Output = ();
        async fn process_transaction(&self, it: &Transaction<Value>) -> Result<()> {
            self.log_service.say(format!("{}={}", it.id(), it.payload()["note"]));
            Ok(())
        }
    }
    let run = async |name: &str| {
        let log = LogConfig::default();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/cases").join(name);
        let report =
            testing::run(Read::config(ReadWiring { input: CsvConfig::new(path), log: log.clone() })).await;
        (report.map(|report| report.tally), log.all())
    };
    let (tally, read) = run("c07-unbalanced-swallow.csv").await;
    let tally = tally.unwrap();
    assert_eq!((tally.fetched, tally.succeeded, tally.rejected), (4, 3, 1));
    let file = "c07-unbalanced-swallow.csv";
    assert_eq!(read, [format!("{file}:2=\"ok\""), format!("{file}:3=\"Bob\""), format!("{file}:4=\"ok\"")]);
    let (refused, _) = run("c04-semicolon.csv").await;
    assert_eq!(refused.unwrap_err().hint(), Some("set `delimiter = \";\"`"));
}
