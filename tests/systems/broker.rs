//! Tests that the broker and the network of the other tests fail as they should, with bare `lapin` and without Ergon.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ergon_tests::broker::{Broker, Client, Direction, Proxy};
use ergon_tests::ledger::{Ledger, Left, Outcome};
use ergon_tests::until;
use futures_util::StreamExt;
use lapin::tcp::OwnedTLSConfig;
use lapin::{Connection, ConnectionProperties, Event};
use tempfile::TempDir;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

/// The ids `0`, `1`, ….
fn ids(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| n.to_string())
}

/// Publishes one message, or says after a second that nothing came back.
async fn publishes(client: &Client) -> bool {
    matches!(timeout(Duration::from_secs(1), client.publish("orders", "x", b"x")).await, Ok(Ok(())))
}

async fn declared(url: &str) -> Client {
    let client = Client::connect(url).await.unwrap();
    client.declare("orders", &[]).await.unwrap();
    client
}

/// A classic queue: a quorum queue declared a second before the kill did not answer for a minute after it.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(rabbitmq_server), ignore = "rabbitmq-server was not found when this was built")]
async fn what_was_confirmed_is_there_after_a_kill() {
    let began = Instant::now();
    let broker = Broker::start().await;
    println!("started in {:?}", began.elapsed());
    let folder = TempDir::new().unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    let client = declared(&broker.url()).await;
    client.fill("orders", ids(2000), &ledger).await.unwrap();
    assert_eq!(broker.depth("orders").await, (2000, 0));

    broker.kill();
    // The kernel closes the sockets of a killed process a moment after the kill, not before it returns.
    until("nothing listens any more", SOON, async || !broker.answers().await).await;
    until("its connection is gone", SOON, async || client.ready("orders").await.is_err()).await;
    let began = Instant::now();
    broker.restart().await;
    println!("started again in {:?}", began.elapsed());

    let client = Client::connect(&broker.url()).await.unwrap();
    let queued: Vec<String> = client.drain("orders").await.unwrap().into_iter().map(|m| m.id).collect();
    let first = queued[0].clone();
    let verdict = ledger.check(Left { queued, ..Left::default() });
    verdict.assert_nothing_lost();
    assert_eq!((verdict.confirmed, verdict.dup.len()), (2000, 0));
    ledger.end(&first, 1, Outcome::Succeeded);
    assert_eq!(ledger.check(Left::default()).lost.len(), 1999, "the queue is empty now");
}

/// Freeze, stop, memory alarm: each is over at its end, so one broker is enough.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(rabbitmq_server), ignore = "rabbitmq-server was not found when this was built")]
async fn it_freezes_thaws_stops_starts_and_runs_out_of_memory() {
    let broker = Broker::start().await;
    let client = declared(&broker.url()).await;

    broker.freeze();
    assert!(!publishes(&client).await, "nothing answers");
    assert!(client.connection().status().connected(), "and nobody knows");
    broker.thaw();
    until("the frozen message is there", SOON, async || client.ready("orders").await.unwrap() == 1).await;

    let mut events = client.connection().events_listener();
    broker.memory_alarm(true).await;
    let blocked = async {
        assert!(!publishes(&client).await, "who publishes is blocked");
        while !matches!(events.next().await.unwrap(), Event::ConnectionBlocked(_)) {}
    };
    timeout(SOON, blocked).await.expect("the broker says that it is blocked");
    assert!(client.connection().status().blocked());
    broker.memory_alarm(false).await;
    until("it goes on", SOON, async || !client.connection().status().blocked()).await;
    assert!(publishes(&client).await);

    broker.stop_app().await;
    assert!(!broker.answers().await);
    broker.start_app().await;
    assert!(declared(&broker.url()).await.ready("orders").await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(rabbitmq_server), ignore = "rabbitmq-server was not found when this was built")]
async fn the_network_resets_falls_silent_slows_and_refuses() {
    let broker = Broker::start().await;
    let proxy = Proxy::open(broker.port()).await;
    let url = broker.url_at(proxy.port());

    let client = declared(&url).await;
    assert!(publishes(&client).await);
    let link = proxy.links().remove(0);
    assert!((proxy.made(), link.number) == (1, 1) && link.to_broker > 0 && link.from_broker > 0, "{link:?}");
    assert_eq!(proxy.reset_all(), 1);
    until("the reset is seen", SOON, async || !client.connection().status().connected()).await;
    assert!(proxy.links().is_empty());

    for (direction, arrives) in
        [(Direction::ToBroker, false), (Direction::FromBroker, true), (Direction::Both, false)]
    {
        let client = declared(&url).await;
        let beside = Client::connect(&broker.url()).await.unwrap();
        let before = beside.ready("orders").await.unwrap();
        proxy.blackhole(direction);
        assert!(!publishes(&client).await, "{direction:?}: no confirm");
        assert!(client.connection().status().connected(), "{direction:?}: half-open");
        assert_eq!(beside.ready("orders").await.unwrap() > before, arrives, "{direction:?}");
        proxy.heal().await;
        until("it arrives", SOON, async || beside.ready("orders").await.unwrap() > before).await;
        assert!(publishes(&client).await, "{direction:?}: healed");
    }

    let client = declared(&url).await;
    proxy.strand(Direction::ToBroker);
    assert!(!publishes(&client).await, "this one is half-open");
    assert!(publishes(&Client::connect(&url).await.unwrap()).await, "a new one is well");
    proxy.heal().await;

    let client = declared(&url).await;
    proxy.slow(Duration::from_millis(50), 200_000);
    let began = Instant::now();
    client.publish("orders", "large", &vec![0; 100_000]).await.unwrap();
    let took = began.elapsed();
    assert!((Duration::from_millis(500)..SOON).contains(&took), "{took:?}");
    proxy.heal().await;

    proxy.refuse(true).await;
    assert!(Client::connect(&url).await.is_err());
    assert!(publishes(&client).await, "those that are open stay");
    proxy.heal().await;
    Client::connect(&url).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(rabbitmq_server), ignore = "rabbitmq-server was not found when this was built")]
async fn it_answers_over_tls_with_its_own_authority() {
    let broker = Broker::options().tls().start().await;
    let connect = async |authority: Option<String>| {
        let tls = OwnedTLSConfig { cert_chain: authority, ..OwnedTLSConfig::default() };
        let runtime = lapin::runtime::default_runtime().unwrap();
        let properties = ConnectionProperties::default();
        let url = broker.tls_url();
        let connecting = Connection::connect_with_config(&url, properties, tls, runtime);
        timeout(Duration::from_secs(5), connecting).await
    };
    assert!(connect(Some(broker.authority())).await.unwrap().unwrap().status().connected());
    // `lapin` tries again for minutes when the certificate is not to its liking.
    assert!(!matches!(connect(None).await, Ok(Ok(_))), "nobody else knows this authority");
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(rabbitmq_server), ignore = "rabbitmq-server was not found when this was built")]
async fn nothing_is_left_of_it_when_a_test_panics() {
    let broker = Broker::options().consumer_timeout(Duration::from_secs(60)).start().await;
    let port = broker.port();
    assert_ne!(processes_of(port), 0);
    let test = tokio::spawn(async move {
        broker.freeze();
        panic!("a failed test holds {}", broker.port());
    });
    assert!(test.await.unwrap_err().is_panic());
    until("nothing runs", SOON, async || processes_of(port) == 0).await;
    assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_ok());
}

/// The number of processes that have the node's name among their arguments or in their environment.
fn processes_of(port: u16) -> usize {
    let name = format!("ergon-{port}@localhost");
    let mentions = |folder: &Path, file: &str| {
        let text = fs::read(folder.join(file)).unwrap_or_default();
        text.windows(name.len()).any(|part| part == name.as_bytes())
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let paths = processes.map(|process| process.path());
    paths.filter(|path| mentions(path, "cmdline") || mentions(path, "environ")).count()
}
