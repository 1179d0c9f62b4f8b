use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::connector::kit::file::{Batch, Fsync, WriteOptions};
use crate::connector::{
    Connector, ConnectorConfig, Context, Count, Delivery, Direction, Disposition, Endpoint, FetchRequest,
    Sink, Source,
};
use crate::settings::ByteSize;
use crate::transaction::{ContentType, Payload, Transaction, key};

fn context(direction: Direction) -> Context {
    let mut context = Context::new("test", "lines");
    context.direction = direction;
    context
}

async fn source(config: &JsonLinesConfig) -> JsonLines {
    let source = config.build(&context(Direction::Source)).unwrap();
    source.open().await.unwrap();
    source
}

async fn sink(config: &JsonLinesConfig) -> JsonLines {
    let sink = config.build(&context(Direction::Sink)).unwrap();
    sink.open().await.unwrap();
    sink
}

async fn all(source: &JsonLines) -> Vec<Delivery> {
    let mut all = Vec::new();
    loop {
        let some = source.fetch(&FetchRequest::new(100)).await.unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

fn with(folder: &Path, content: impl AsRef<[u8]>) -> JsonLinesConfig {
    let path = folder.join("orders.jsonl");
    std::fs::write(&path, content).unwrap();
    JsonLinesConfig::new(path)
}

#[tokio::test]
async fn lines_of_every_kind_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let content = "\u{feff}{\"n\":1}\r\n\n  \r\n{\"n\":2}\n{\"n\":\"ü\"}";
    let source = source(&with(folder.path(), content)).await;
    assert_eq!(source.count().await.unwrap(), 3);
    let deliveries = all(&source).await;
    let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.transaction().id()).collect();
    assert_eq!(ids, ["orders.jsonl:1", "orders.jsonl:4", "orders.jsonl:5"]);
    let values: Vec<Value> = deliveries.iter().map(|d| d.transaction().decode().unwrap()).collect();
    assert_eq!(values, [json!({"n": 1}), json!({"n": 2}), json!({"n": "ü"})]);
    assert_eq!(deliveries[1].transaction().metadata().get("line"), Some(&json!(4)));
    assert_eq!(source.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_bad_line_is_a_delivery_that_keeps_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(&with(folder.path(), b"{\"n\": 1}\n{\"n\": \n\xff\xfe\n{\"n\": 4}\n")).await;
    let deliveries = all(&source).await;
    let decoded: Vec<_> = deliveries.iter().map(|d| d.transaction().decode::<Value>().is_ok()).collect();
    assert_eq!(decoded, [true, false, false, true]);
    assert_eq!(deliveries[1].transaction().payload().to_bytes().unwrap(), "{\"n\": ");
    assert_eq!(deliveries[2].transaction().payload().to_bytes().unwrap(), &b"\xff\xfe"[..]);
}

#[tokio::test]
async fn a_line_that_is_too_long_is_refused_alone() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("\"{}\"", "x".repeat(5000));
    let mut config = with(folder.path(), format!("1\n{long}\n3\n"));
    config.max_line = ByteSize::new(5001);
    let deliveries = all(&source(&config).await).await;
    assert_eq!(deliveries.len(), 3);
    let error = deliveries[1].transaction().decode::<Value>().unwrap_err();
    assert_eq!(error.message(), "payload: line 2 of orders.jsonl is longer than max_line = 5001 bytes");
    assert_eq!(deliveries[2].transaction().decode::<u8>().unwrap(), 3);

    config.max_line = ByteSize::new(5002);
    assert_eq!(all(&source(&config).await).await[1].transaction().decode::<String>().unwrap().len(), 5002);
}

#[tokio::test]
async fn given_back_lines_come_again_before_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(&with(folder.path(), "1\n2\n3\n")).await;
    let mut first = source.fetch(&FetchRequest::new(2)).await.unwrap();
    let settlements =
        vec![first.remove(0).settle(Disposition::Requeue), first.remove(0).settle(Disposition::Ack)];
    source.settle(settlements).await.unwrap();
    assert_eq!(source.count().await.unwrap(), 2);
    let again = source.fetch(&FetchRequest::new(2)).await.unwrap();
    assert_eq!((again[0].transaction().id(), again[0].transaction().deliveries()), ("orders.jsonl:1", 2));
    assert_eq!(all(&source).await.len(), 1);
}

#[tokio::test]
async fn workers_share_the_lines() {
    let folder = tempfile::tempdir().unwrap();
    let config = with(folder.path(), (0..1000).map(|n| n.to_string()).collect::<Vec<_>>().join("\n"));
    let mut seen = Vec::new();
    for index in 0..3 {
        let mut context = context(Direction::Source);
        context.shard = Shard { index, count: 3 };
        let worker = config.build(&context).unwrap();
        assert_eq!(worker.count().await.unwrap(), if index == 0 { 334 } else { 333 });
        seen.extend(all(&worker).await.iter().map(|d| d.transaction().decode::<u32>().unwrap()));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_missing_file_is_found_at_open_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let config = JsonLinesConfig::new(folder.path().join("none.jsonl"));
    let error = config.build(&context(Direction::Source)).unwrap().open().await.unwrap_err();
    assert!(error.is_permanent() && error.message().contains("none.jsonl"), "{error}");
    assert!(!config.path.exists());
}

#[tokio::test]
async fn whatever_the_payload_a_line_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let config = JsonLinesConfig::new(folder.path().join("new/folder/out.jsonl"));
    let sink = sink(&config).await;
    let payloads = [
        Payload::bytes(
            ContentType::Json,
            &b"{\n  \"a\": 12345678901234567890123,\r\n \"b\": \"x \\\" \\n y\"\n}"[..],
        ),
        Payload::text("two\nlines"),
        Payload::bytes(ContentType::Json, &b"{ no json\n"[..]),
        Payload::bytes(ContentType::Binary, &b"\x00\xff"[..]),
        Payload::value(json!({"a": [1, "ü"]})),
    ];
    let transactions = payloads.map(|payload| Transaction::builder().payload(payload).build());
    sink.dispatch(transactions.into()).await.unwrap();
    sink.close().await.unwrap();
    let expected = concat!(
        "{\"a\":12345678901234567890123,\"b\":\"x \\\" \\n y\"}\n",
        "\"two\\nlines\"\n\"{ no json\\n\"\n\"AP8=\"\n{\"a\":[1,\"ü\"]}\n"
    );
    assert_eq!(std::fs::read_to_string(&config.path).unwrap(), expected);
}

#[tokio::test]
async fn a_dead_letter_carries_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let config = JsonLinesConfig::new(folder.path().join("dead.jsonl"));
    let sink = sink(&config).await;
    let refused = Transaction::new("order-1", &json!({"n": 1})).unwrap();
    sink.dispatch(vec![refused.clone(), refused.annotate([(key::ERROR, "no stock")])]).await.unwrap();
    let lines = std::fs::read_to_string(&config.path).unwrap();
    let (plain, letter) = lines.split_once('\n').unwrap();
    assert_eq!(plain, r#"{"n":1}"#);
    let letter: Value = serde_json::from_str(letter).unwrap();
    assert_eq!((&letter["id"], &letter["payload"]), (&json!("order-1"), &json!({"n": 1})));
    assert_eq!(letter["metadata"][key::ERROR], "no stock");
}

#[tokio::test]
async fn an_envelope_brings_a_transaction_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.jsonl");
    let config = JsonLinesConfig::new(path).with_envelope(Envelope::Always);
    let parent = Transaction::new("order-1", &1).unwrap();
    let child = parent.derive(&json!({"n": 1})).unwrap().annotate([("grüße", json!(["ü", 7]))]);
    let binary =
        Transaction::builder().id("b").payload(Payload::bytes("image/png".into(), &b"\x00\xff"[..])).build();
    let sink = sink(&config).await;
    sink.dispatch(vec![child.clone(), binary.clone()]).await.unwrap();
    std::fs::write(&config.path, std::fs::read_to_string(&config.path).unwrap() + "{\"n\": 1}\n").unwrap();

    let deliveries = all(&source(&config).await).await;
    let back = deliveries[0].transaction();
    assert_eq!(
        (back.id(), back.parent_id(), back.correlation_id()),
        ("order-1/1", Some("order-1"), "order-1")
    );
    assert_eq!(back.metadata(), child.metadata());
    assert_eq!(back.payload().to_bytes().unwrap(), r#"{"n":1}"#);
    let back = deliveries[1].transaction();
    assert_eq!((back.id(), back.payload().content_type().as_str()), ("b", "image/png"));
    assert_eq!(back.payload().to_bytes().unwrap(), binary.payload().to_bytes().unwrap());
    let error = deliveries[2].transaction().decode::<Value>().unwrap_err();
    assert!(error.message().starts_with("payload: all.jsonl:3 is no envelope"), "{error}");
}

#[tokio::test]
async fn half_a_line_is_put_aside_and_one_without_an_end_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    // The content of the file, the part that stays, and the bytes in `.torn`.
    let cases = [
        ("{\"n\":1}\n{\"n\"", "{\"n\":1}\n", "{\"n\"\n"),
        ("{\"n\"", "", "{\"n\"\n"),
        ("{\"n\":1}", "{\"n\":1}\n", ""),
        ("{\"n\":1}\nno JSON", "{\"n\":1}\nno JSON\n", ""),
    ];
    for (there, stays, aside) in cases {
        let config = with(folder.path(), there);
        let sink = sink(&config).await;
        sink.dispatch(vec![Transaction::new("a", &3).unwrap()]).await.unwrap();
        assert_eq!(std::fs::read_to_string(&config.path).unwrap(), format!("{stays}3\n"), "{there}");
        let torn = folder.path().join("orders.jsonl.torn");
        assert_eq!(std::fs::read_to_string(&torn).unwrap_or_default(), aside, "{there}");
        let _ = std::fs::remove_file(torn);
    }
}

#[tokio::test]
async fn append_and_create_are_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = with(folder.path(), "1\n");
    config.append = false;
    config.fsync = Fsync::Each;
    let sink = sink(&config).await;
    sink.dispatch(vec![Transaction::new("a", &2).unwrap()]).await.unwrap();
    assert_eq!(std::fs::read_to_string(&config.path).unwrap(), "2\n");

    config.path = folder.path().join("none.jsonl").into();
    config.create = false;
    assert!(config.build(&context(Direction::Sink)).unwrap().open().await.is_err());

    let mut shared = context(Direction::Sink);
    shared.shard.count = 2;
    let error = config.build(&shared).unwrap_err();
    assert_eq!(error.message(), "`append = false` with 2 workers: each would empty what the others wrote");
}

#[tokio::test]
async fn a_file_is_emptied_when_the_run_begins_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = with(folder.path(), "1\n");
    config.append = false;
    let written = || std::fs::read_to_string(folder.path().join("orders.jsonl")).unwrap();
    // A run that did not start, because another connector could not open.
    sink(&config).await.close().await.unwrap();
    assert_eq!(written(), "1\n");

    let mut context = context(Direction::Sink);
    context.is_restart = true;
    let next = config.build(&context).unwrap();
    next.open().await.unwrap();
    next.start().await.unwrap();
    next.dispatch(vec![Transaction::new("a", &2).unwrap()]).await.unwrap();
    assert_eq!(written(), "1\n2\n", "it goes on with what another wrote");
    next.close().await.unwrap();

    let begun = sink(&config).await;
    begun.start().await.unwrap();
    assert_eq!(written(), "", "also if nothing is written");
    for id in ["a", "b"] {
        begun.dispatch(vec![Transaction::new(id, &3).unwrap()]).await.unwrap();
    }
    begun.close().await.unwrap();
    assert_eq!(written(), "3\n3\n");
}

#[tokio::test]
async fn a_dispatch_after_close_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = with(folder.path(), "");
    config.append = false;
    let sink = sink(&config).await;
    sink.dispatch(vec![Transaction::new("a", &1).unwrap()]).await.unwrap();
    sink.close().await.unwrap();
    assert!(sink.dispatch(vec![Transaction::new("b", &2).unwrap()]).await.is_err());
    assert_eq!(std::fs::read_to_string(&config.path).unwrap(), "1\n");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_a_transient_error() {
    let sink = sink(&JsonLinesConfig::new("/dev/full")).await;
    let error = sink.dispatch(vec![Transaction::new("a", &1).unwrap()]).await.unwrap_err();
    assert!(!error.is_permanent() && error.message() == "cannot write to /dev/full", "{error}");
}

#[test]
fn unknown_keys_are_refused() {
    let error = toml::from_str::<JsonLinesConfig>("path = 'a'\nfile = 'b'").unwrap_err();
    assert!(error.message().contains("unknown field `file`"), "{error}");
}

#[test]
fn who_reads_the_file_meets_who_writes_it() {
    let connector = |path: &str| JsonLinesConfig::new(path).build(&Context::new("task", "slot")).unwrap();
    assert_eq!(connector("./out/orders.jsonl").reads_from(), [Endpoint::file("out/orders.jsonl")]);
    assert_eq!(connector("out/orders.jsonl").writes_to(), [Endpoint::file("out/orders.jsonl")]);
    let stream = connector("-");
    assert_eq!(stream.reads_from(), [Endpoint::new("standard input")]);
    assert_eq!(stream.writes_to(), [Endpoint::new("standard output")]);
}

#[tokio::test]
async fn what_is_no_json_lines_is_found_at_open() {
    let folder = tempfile::tempdir().unwrap();
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/cases/j09-array.jsonl");
    let array = std::fs::read(case).unwrap();
    let utf16: Vec<u8> = "{\"n\": 1}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let long = format!("[\n{}{{\"n\":1}}\n]\n", "  {\"n\":1},\n".repeat(20_000));
    for (content, what, step) in [
        (array.as_slice(), "is one JSON array, expected one JSON text on each line", "jq -c '.[]'"),
        (long.as_bytes(), "is one JSON array", "jq -c '.[]'"),
        (b"[{\"n\":1},\n{\"n\":2}]\n", "is one JSON array", "jq -c '.[]'"),
        (b"[\n{\"n\":1},\n{\"n\":", "is one JSON array", "jq -c '.[]'"),
        (
            b"\xef\xbb\xbf\n{\n  \"n\": 1\n}\n{\n  \"n\": 2\n}\n",
            "has a JSON text over several lines",
            "jq -c .",
        ),
        (b"{\"n\":\n 1}", "has a JSON text over several lines", "jq -c ."),
        (&utf16, "is text in UTF-16, expected JSON Lines in UTF-8", "iconv"),
        (b"\x1f\x8b\x08\0", "is compressed with gzip", "gunzip"),
    ] {
        let config = with(folder.path(), content);
        let error = config.build(&context(Direction::Source)).unwrap().open().await.unwrap_err();
        assert!(error.is_permanent() && error.message().contains(what), "{error}");
        assert!(error.hint().unwrap().contains(step), "{error:?}");
    }
    // Lines that are arrays, a damaged first line, and a file without lines are all read as JSON Lines.
    for (content, lines) in [
        ("[1,2]\n[3,\n[4]\n", 3),
        ("{\"n\": \n{\"n\": 2}\n", 2),
        ("[{\"n\":1},{\"n\":2}]\n", 1),
        ("no json\n{\"n\":1}\n", 2),
        ("{\"n\":", 1),
        ("[1,", 1),
        (&format!("{{\"n\":\"{}\"}}\n{{\"n\":1}}\n", "x".repeat(100_000)), 2),
        ("", 0),
    ] {
        assert_eq!(all(&source(&with(folder.path(), content)).await).await.len(), lines, "{content:?}");
    }
}

#[tokio::test]
async fn standard_input_is_not_followed() {
    let mut context = context(Direction::Source);
    context.streaming = true;
    let error = JsonLinesConfig::new("-").build(&context).unwrap_err();
    assert!(error.is_permanent() && error.hint().unwrap().contains("streaming"), "{error:?}");
}

#[tokio::test]
async fn a_letter_of_a_record_that_does_not_decode_holds_it_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let config = JsonLinesConfig::new(folder.path().join("dead.jsonl")).with_envelope(Envelope::Always);
    let sink = sink(&config).await;
    let records = [b"1,2,\"John, Doe".as_slice(), b"1,\xff,\"x"];
    let letter = |bytes: &'static [u8]| {
        Transaction::builder().payload(Payload::bytes("text/csv".into(), bytes)).build()
    };
    sink.dispatch(records.map(letter).into()).await.unwrap();
    let text = std::fs::read_to_string(&config.path).unwrap();
    assert!(text.contains(r#""payload":"1,2,\"John, Doe""#), "{text}");
    for (delivery, bytes) in all(&source(&config).await).await.iter().zip(records) {
        let payload = delivery.transaction().payload();
        assert_eq!((payload.content_type().as_str(), &*payload.to_bytes().unwrap()), ("text/csv", bytes));
    }
}

/// Writes lines by two sinks in turn. Before each line, a third sink may be killed and leave the given number of bytes
/// of an incomplete line.
fn written(start: &[u8], lines: &[(String, Option<usize>)]) -> (Vec<String>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    std::fs::write(&path, start).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let open = || {
        runtime
            .block_on(AppendFile::open(
                &path,
                WriteOptions { fsync: Fsync::Never, ..WriteOptions::default() },
            ))
            .unwrap()
    };
    let mut sinks = [open(), open()];
    for (index, (line, half)) in lines.iter().enumerate() {
        // The killed sink has repaired the end of the file before its write.
        let ended = std::fs::read(&path).unwrap().last().is_none_or(|last| *last == b'\n');
        if let Some(half) = half.filter(|_| ended) {
            let mut killed = File::options().append(true).open(&path).unwrap();
            killed.write_all(&line.as_bytes()[..half % line.len()]).unwrap();
        }
        let mut batch = Batch::default();
        batch.add(|bytes| {
            bytes.extend_from_slice(line.as_bytes());
            Ok(())
        });
        sinks[index % 2].append(&mut batch, truncated::ending).unwrap();
    }
    for sink in &mut sinks {
        sink.finish().unwrap();
    }
    let there = std::fs::read(&path).unwrap();
    let there = there.split_inclusive(|byte| *byte == b'\n');
    let there = there.map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
    let torn = std::fs::read(folder.path().join("out.torn")).unwrap_or_default();
    (there, String::from_utf8_lossy(&torn).into_owned())
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn wherever_a_line_is_torn_the_lines_before_and_after_it_are_whole(
        earlier in proptest::collection::vec("[a-zü\"\\\\]{0,12}", 0..4),
        cut in 0_usize..100,
        later in proptest::collection::vec(("[a-zü\"]{0,12}", proptest::option::of(0_usize..100)), 1..6),
    ) {
        let json = |text: &String| json!({ "text": text }).to_string();
        let start: String = earlier.iter().map(|text| json(text) + "\n").collect();
        let start = start.as_bytes();
        let start = &start[..start.len() - cut.min(start.len())];
        let lines: Vec<_> = later.iter().map(|(text, half)| (json(text), *half)).collect();
        let (there, torn) = written(start, &lines);
        for line in &there {
            proptest::prop_assert!(line.ends_with('\n'), "{line:?} is not ended");
            let read: Result<Value, _> = serde_json::from_str(line);
            proptest::prop_assert!(read.is_ok(), "{line:?} is half a line");
        }
        // Each acknowledged line is there once, in order, after the lines that were complete before.
        let whole = start.split(|byte| *byte == b'\n').count() - 1;
        let kept = there.len() - lines.len();
        proptest::prop_assert!(kept == whole || kept == whole + 1, "{there:?}");
        for (line, (expected, _)) in there[kept..].iter().zip(&lines) {
            proptest::prop_assert_eq!(line.trim_end(), expected);
        }
        // No byte is lost: the removed bytes are in the file `.torn`.
        let end = start.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        proptest::prop_assert!(kept > whole || torn.starts_with(&*String::from_utf8_lossy(end)), "{torn:?}");
    }
}
