//! Tests that nothing is lost when the broker dies, freezes, is cut off or refuses: whole runs of a task from queue to
//! queue, with a ledger of every id.
//!
//! Each scenario prints the time until the first transaction succeeded again. The tests start their own brokers and
//! take minutes: `cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos --nocapture --test-threads 2`.
//! `ERGON_CHAOS_SECONDS` sets the length of the long outages, 15 by default.

mod broker_down;
mod network;
mod pipeline;
mod refusals;
mod stops;
mod volume;

use std::time::Duration;

use ergon_tests::broker::Broker;
use tokio::sync::OnceCell;

/// The length of the long outages.
fn outage() -> Duration {
    let seconds = std::env::var("ERGON_CHAOS_SECONDS").ok();
    Duration::from_secs(seconds.map_or(15, |text| text.parse().unwrap()))
}

/// The broker of the tests that do not break it. Each test has its own queues. The broker ends with this process.
async fn shared() -> &'static Broker {
    static SHARED: OnceCell<Broker> = OnceCell::const_new();
    SHARED.get_or_init(Broker::start).await
}
