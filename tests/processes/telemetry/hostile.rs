//! Tests messages that are not text, and texts that would forge log lines or control a terminal: each line stays one
//! JSON object.

use std::collections::BTreeMap;
use std::fs;

use ergon_tests::broker::Client;
use ergon_tests::otlp::Collector;
use serde_json::Value;

use super::Project;

/// The contents of the messages. The id of each message is hostile too.
const HOSTILE: [(&str, &[u8]); 6] = [
    ("no text", b"\xff\xfe\x80 \xc3\x28 \xe2\x82"),
    ("nul\0nul", b"before \0 after"),
    ("\x1b[2Jwiped", b"\x1b[2J\x1b]0;owned\x07 \x9b31m\x7f"),
    ("one\ntwo", b"one\n{\"level\":\"ERROR\",\"message\":\"forged\"}\r\nthree\x0b\x0c"),
    ("a\"b\\c", b"\"}\\u0000 \\ \xe2\x80\xa8\xe2\x80\xa9 \xc2\x85"),
    ("\u{202e}\u{feff}", b"\xed\xa0\x80 \xed\xbf\xbf \xf4\x90\x80\x80 \xe2\x80\xae"),
];

fn url() -> String {
    std::env::var("ERGON_TEST_AMQP_URL").expect("it was set when the tests were built")
}

/// A queue with the messages, and the queue of its rejected messages. Both are deleted when no client uses them.
async fn filled(client: &Client) -> (String, String) {
    let queue = format!("ergon.test.hostile.{:x}", fastrand::u64(..));
    let dead = format!("{queue}.dead");
    client.declare(&dead, &[("x-expires", "60000")]).await.unwrap();
    let to = [("x-expires", "60000"), ("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", &dead)];
    client.declare(&queue, &to).await.unwrap();
    for (id, body) in HOSTILE {
        client.publish(&queue, id, body).await.unwrap();
    }
    (queue, dead)
}

/// The lines, each one JSON object in UTF-8, without a control character for the terminal.
fn objects(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).unwrap();
    assert!(text.ends_with('\n'), "the last line is whole: {text:?}");
    let parsed = |line: &str| match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => Value::Object(fields),
        other => panic!("{other:?} is no object: {line:?}"),
    };
    let obeyed = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{2029}');
    assert!(!text.contains(obeyed), "a control character stands in it as it is: {text:?}");
    text.split_terminator('\n').map(parsed).collect()
}

/// Runs a task on a queue of such messages: its lines on standard error and in a file; the collector.
async fn run(task: &str) -> (Vec<Value>, Collector) {
    let client = Client::connect(&url()).await.unwrap();
    let (queue, dead) = filled(&client).await;
    let (collector, project) = (Collector::grpc().await, Project::new(&[]));
    let handlers = [
        "console = { stream = \"stderr\", format = \"json\" }",
        "file = { path = \"app.jsonl\" }",
        "otlp = {}",
    ];
    let handlers = handlers.map(|handler| format!("[[telemetry.logs]]\n{handler}\n")).concat();
    project.settings(&format!("[telemetry]\nlog_payloads = true\n{handlers}"));
    let (url, endpoint) = (url(), collector.endpoint());
    let variables = [
        ("ERGON_QUEUE__URL", &*url),
        ("ERGON_QUEUE__QUEUE", &*queue),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
    ];
    let arguments = ["--quiet", "--format", "json", "--log-level", "debug", "run", task];
    let output = project.run(&arguments, &variables).await;
    let told = objects(&output.stderr);
    assert!(output.status.success(), "{told:?}");
    let data: Value = serde_json::from_slice(&output.stdout).unwrap();
    let category = &data["tasks"][0]["failed_by_category"];
    assert_eq!((&data["processed"], &category["business"]), (&6.into(), &6.into()), "{data}");
    let filed = objects(&fs::read(project.0.path().join("app.jsonl")).unwrap());
    let untimed = |line: &Value| {
        let mut line = line.clone();
        line.as_object_mut().unwrap().remove("timestamp");
        line
    };
    assert_eq!(told.iter().map(untimed).collect::<Vec<_>>(), filed.iter().map(untimed).collect::<Vec<_>>());

    let mut rejected: Vec<_> =
        client.drain(&dead).await.unwrap().into_iter().map(|message| (message.id, message.body)).collect();
    let mut sent: Vec<_> = HOSTILE.map(|(id, body)| (id.to_owned(), body.to_vec())).into();
    rejected.sort();
    sent.sort();
    assert_eq!(rejected, sent, "all were rejected, as they came");
    (told, collector)
}

/// The one line that has this message and this transaction's id, with all the ids of its place.
fn line<'l>(lines: &'l [Value], message: &str, id: &str) -> &'l Value {
    let mut found = lines.iter().filter(|line| line["message"] == message && line["transaction_id"] == id);
    let line = found.next().unwrap_or_else(|| panic!("no {message:?} of {id:?} in {lines:#?}"));
    assert!(found.next().is_none(), "twice: {line}");
    line
}

/// Asserts that a line names the place where it was written.
fn assert_placed(line: &Value, collector: &Collector, (task, step): (&str, &str)) {
    assert_eq!(
        (&line["task"], &line["step"], &line["attempt"]),
        (&task.into(), &step.into(), &1.into()),
        "{line}"
    );
    let seen = collector.seen();
    let span = seen.spans.iter().find(|span| Some(&*span.span_id) == line["span_id"].as_str());
    let span = span.unwrap_or_else(|| panic!("{line} has no span in {:#?}", seen.spans));
    assert_eq!(Some(&*span.trace_id), line["trace_id"].as_str());
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decoded_is_rejected_and_told_of_in_json_whatever_it_holds() {
    let (lines, collector) = run("strict").await;
    for (id, body) in HOSTILE {
        let failed = line(&lines, "transaction failed", id);
        assert_placed(failed, &collector, ("strict", "process"));
        assert_eq!(failed["payload"], String::from_utf8_lossy(body).as_ref());
        let span = collector.seen();
        let span = span.spans_with("ergon.transaction.id", id).next().unwrap();
        assert_eq!(span.attributes["ergon.disposition"], "reject");
        assert_eq!(span.attributes["ergon.category"], "business");
    }
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_may_write_any_bytes_into_the_log() {
    let (lines, collector) = run("raw").await;
    let texts: BTreeMap<&str, String> =
        HOSTILE.iter().map(|(id, body)| (*id, String::from_utf8_lossy(body).into_owned())).collect();
    for (id, text) in &texts {
        let said = line(&lines, &format!("raw {text}"), id);
        assert_placed(said, &collector, ("raw", "process"));
        assert_eq!(&said["text"], text);
        assert!(said["bytes"].as_str().unwrap().starts_with("b\""), "{said}");
        let inner = line(&lines, "in a span of it", id);
        assert_placed(inner, &collector, ("raw", "process"));
        assert_eq!(&inner["text"], text);
        let failed = line(&lines, "transaction failed", id);
        assert_placed(failed, &collector, ("raw", "process"));
        assert_eq!(failed["error"], format!("refused: {text}"));
        assert_eq!(failed["payload"], **text);
        let sent = collector.logs();
        let sent = sent.iter().find(|log| log.body == format!("raw {text}")).unwrap();
        assert_eq!(sent.attributes["transaction_id"], *id);
        let span = collector.seen();
        let span = span.spans_with("ergon.transaction.id", *id).next().unwrap();
        assert_eq!(span.events[0].attributes["exception.message"], format!("refused: {text}"));
    }
}
