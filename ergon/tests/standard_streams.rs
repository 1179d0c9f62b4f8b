//! JSON lines from standard input to standard output, in a process of their own.
#![cfg(feature = "json_lines")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::process::{Command, Stdio};

use ergon::Connector;
use ergon::connector::json_lines::JsonLinesConfig;
use ergon::connector::{ConnectorConfig, Context, Direction, FetchRequest, Sink, Source};
use ergon::transaction::Value;

#[tokio::test]
#[ignore = "the other process of the test below"]
async fn child() {
    let mut context = Context::new("copy", "both");
    context.direction = Direction::Source;
    let input = JsonLinesConfig::new("-").build(&context).unwrap();
    context.direction = Direction::Sink;
    let output = JsonLinesConfig::new("-").build(&context).unwrap();
    input.open().await.unwrap();
    output.open().await.unwrap();
    loop {
        let deliveries = input.fetch(&FetchRequest::new(1).waiting()).await.unwrap();
        let Some(delivery) = deliveries.into_iter().next() else { break };
        let line: Value = delivery.transaction().decode().unwrap();
        let answer = delivery.transaction().derive(&serde_json::json!({"answer": line})).unwrap();
        output.dispatch(vec![answer]).await.unwrap();
    }
    output.close().await.unwrap();
    input.close().await.unwrap();
}

#[test]
fn a_line_is_answered_before_the_next_is_typed() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    for number in 0..3 {
        writeln!(input, "{number}").unwrap();
        // The reader must not wait for a full buffer: the answer comes while standard input is still open.
        let answer = lines.find(|line| line.as_ref().unwrap().ends_with('}')).unwrap().unwrap();
        assert!(answer.ends_with(&format!("{{\"answer\":{number}}}")), "{answer}");
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}
