//! Fills the queues of the benchmark's broker, and measures the processor time of the broker.

use std::fs;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use crate::MESSAGES;

pub(crate) const IN: &str = "ergon.bench.in";
pub(crate) const OUT: &str = "ergon.bench.out";

pub(crate) fn url() -> String {
    std::env::var("ERGON_TEST_AMQP_URL").unwrap()
}

pub(crate) async fn connect() -> (Connection, Channel) {
    let connection = Connection::connect(&url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// A persistent message of 256 bytes.
pub(crate) fn body(number: usize) -> Vec<u8> {
    let mut body = format!(r#"{{"id":"order-{number:08}","amount":{number},"note":""#);
    body.push_str(&"x".repeat(254 - body.len()));
    body.push_str("\"}");
    body.into_bytes()
}

pub(crate) fn properties(number: usize) -> BasicProperties {
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(format!("order-{number:08}").into())
        .with_content_type("application/json".into())
}

/// Empties both queues, and puts `count` messages into the first.
pub(crate) async fn fill(count: usize) {
    let (connection, channel) = connect().await;
    for queue in [IN, OUT] {
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.into(), durable, FieldTable::default()).await.unwrap();
        channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.unwrap();
    }
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let mut confirms = Vec::with_capacity(count);
    for number in 0..count {
        let options = BasicPublishOptions::default();
        let body = body(number);
        confirms.push(
            channel.basic_publish("".into(), IN.into(), options, &body, properties(number)).await.unwrap(),
        );
    }
    for confirm in confirms {
        assert!(confirm.await.unwrap().is_ack());
    }
    connection.close(200, "bye".into()).await.unwrap();
}

/// Fills the first queue in the same way for every run.
pub(crate) async fn filled() {
    fill(MESSAGES).await;
}

/// The processor time of this process, and of all brokers on this machine; zero if it cannot be read.
pub(crate) fn cpu() -> (Duration, Duration) {
    let brokers = fs::read_dir("/proc").into_iter().flatten().flatten().filter(|entry| {
        fs::read_to_string(entry.path().join("comm")).is_ok_and(|name| name.trim() == "beam.smp")
    });
    let broker = brokers.map(|entry| spent(&entry.path().join("stat").display().to_string())).sum();
    (spent("/proc/self/stat"), broker)
}

/// User and system time in a `stat` file of Linux, in ticks of 10 ms.
fn spent(stat: &str) -> Duration {
    let content = fs::read_to_string(stat).unwrap_or_default();
    let after_name = content.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
