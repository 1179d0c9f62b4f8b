//! Tests the guide to RabbitMQ: its tables against the code, its claims against a broker, and its example project.
//!
//! The tests that need a broker run with `ERGON_TEST_AMQP_URL=amqp://guest:guest@127.0.0.1`.

mod claims;
mod example;
mod tables;

use std::path::{Path, PathBuf};

use ergon::connector::rabbitmq::RabbitMqConfig;
use ergon_tests::broker::Client;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A text file of the project.
fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn url() -> String {
    std::env::var("ERGON_TEST_AMQP_URL").expect("it was set when the tests were built")
}

/// A name for queues that no other test uses.
fn own_name() -> String {
    format!("ergon.test.guide.{:x}", fastrand::u64(..))
}

/// A plain client of the broker, without the connector.
async fn client() -> Client {
    Client::connect(&url()).await.unwrap()
}

fn config(config: serde_json::Value) -> RabbitMqConfig {
    serde_json::from_value(config).unwrap()
}
