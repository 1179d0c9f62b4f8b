//! Tests the RabbitMQ connector against a real broker. Run with `ERGON_TEST_AMQP_URL=amqp://guest:guest@127.0.0.1`.

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use ergon::connector::rabbitmq::{RabbitMq, RabbitMqConfig, key};
use ergon::connector::{Connector, ConnectorConfig, Context, Direction, Input, Sink};
use ergon::connector::{ConnectorError, Delivery, FetchRequest, ItemOutcome, Receipt, Settlement};
use ergon::prelude::*;
use ergon::service::{Service, ServiceConfig, ServiceError};
use ergon::telemetry::Ended;
use ergon::testing;
use ergon::testing::conformance::{self, Fixture};
use ergon::transaction::Payload;
use serde_json::json;

fn url() -> String {
    std::env::var("ERGON_TEST_AMQP_URL").expect("it was set when the tests were built")
}

/// A name that no other test uses.
fn name(of: &str) -> String {
    format!("ergon.test.{}.{:x}.{of}", std::process::id(), fastrand::u64(..))
}

/// A config with these settings in addition to the address. Its queues are deleted a minute after their last use.
fn config(mut settings: Value) -> RabbitMqConfig {
    settings["url"] = url().into();
    if settings.get("queue").is_some() && settings.get("passive").is_none() {
        settings["declare"]["arguments"]["x-expires"] = 60_000.into();
    }
    serde_json::from_value(settings).expect("a config")
}

fn built(config: &RabbitMqConfig, direction: Direction) -> Result<RabbitMq, ConnectorError> {
    let mut context = Context::new("test", "queue");
    context.direction = direction;
    context.max_in_flight = 100;
    config.build(&context)
}

async fn opened(config: &RabbitMqConfig, direction: Direction) -> Result<RabbitMq, ConnectorError> {
    let connector = built(config, direction)?;
    connector.open().await?;
    Ok(connector)
}

async fn open(config: &RabbitMqConfig, direction: Direction) -> RabbitMq {
    opened(config, direction).await.expect("open")
}

/// An open source, as a task holds it.
async fn source(config: &RabbitMqConfig) -> Input {
    Input::new(open(config, Direction::Source).await.into(), &Context::new("test", "queue"))
}

async fn fetch(input: &Input, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        let request = FetchRequest::new(count - all.len()).waiting();
        let fetched = tokio::time::timeout(Duration::from_secs(20), input.fetch(&request)).await;
        all.extend(fetched.expect("in time").expect("fetched"));
    }
    all
}

async fn settle(input: &Input, deliveries: Vec<Delivery>, disposition: Disposition) {
    let settlements = deliveries.into_iter().map(|delivery| delivery.settle(disposition)).collect();
    input.settle(settlements).await.expect("settled");
}

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.transaction().id()).collect()
}

fn numbered<I: Display + ?Sized>(id: &I) -> Transaction {
    Transaction::new(id.to_string(), &1).expect("a number")
}

struct Queues;

impl Fixture for Queues {
    type Config = RabbitMqConfig;

    async fn filled(&self, place: &str, transactions: Vec<Transaction>) -> RabbitMqConfig {
        let settings = json!({ "queue": name(place), "prefetch": 1000, "declare": { "kind": "quorum" } });
        let config = config(settings);
        let sink = open(&config, Direction::Sink).await;
        sink.dispatch(transactions).await.expect("published");
        sink.close().await.expect("closed");
        config
    }

    async fn contents(&self, config: &RabbitMqConfig) -> Vec<Transaction> {
        conformance::read(config).await.expect("read")
    }
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn it_passes_the_conformance_suite() {
    conformance::duplex(&Queues).await;
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn numbers_leave_the_broker_as_they_came() {
    let config = config(json!({ "queue": name("numbers") }));
    let sink = open(&config, Direction::Sink).await;
    let floats: Vec<f64> =
        (0..90).map(|_| f64::from_bits(fastrand::u64(..))).filter(|f| f.is_finite()).collect();
    let sent =
        |(id, float): (usize, &f64)| Transaction::new(id.to_string(), &json!({"v": float})).expect("finite");
    let sent = floats
        .iter()
        .enumerate()
        .map(sent)
        .map(|made| made.annotate([("float", made.decode::<Value>().expect("a map")["v"].clone())]));
    sink.dispatch(sent.collect()).await.expect("published");
    let input = source(&config).await;
    let mut deliveries = fetch(&input, floats.len()).await;
    deliveries.sort_by_key(|delivery| delivery.transaction().id().parse::<usize>().expect("a number"));
    for (delivery, float) in deliveries.iter().zip(&floats) {
        let came = delivery.transaction();
        assert_eq!(came.decode::<Value>().expect("a map")["v"].as_f64(), Some(*float));
        assert_eq!(came.metadata().get("float").and_then(Value::as_f64), Some(*float), "as a header");
    }
    settle(&input, deliveries, Disposition::Ack).await;
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn what_identifies_a_transaction_travels() {
    let config = config(json!({ "queue": name("identity") }));
    let sink = open(&config, Direction::Sink).await;
    let first = numbered("first");
    let child = first.derive(&2).expect("a number").annotate([("tenant", "Łódź")]);
    let long = numbered(&"x".repeat(300));
    sink.dispatch(vec![first.clone(), child.clone(), long.clone()]).await.expect("published");
    let input = source(&config).await;
    let deliveries = fetch(&input, 3).await;
    assert_eq!(ids(&deliveries), [first.id(), child.id(), long.id()]);
    let found = deliveries[1].transaction();
    assert_eq!((found.parent_id(), found.correlation_id()), (Some("first"), "first"));
    assert_eq!(found.metadata().text("tenant"), Some("Łódź"));
    assert_eq!(found.metadata().text(key::CONTENT_TYPE), Some("application/json"));
    let apart = |time: SystemTime| child.created_at().duration_since(time).unwrap_or_default();
    assert!(apart(found.created_at()) < Duration::from_millis(2), "milliseconds travel with other headers");
    assert!(apart(deliveries[0].transaction().created_at()) < Duration::from_secs(2), "seconds travel alone");
    settle(&input, deliveries, Disposition::Ack).await;
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn exchanges_route_by_key() {
    let exchange = name("topic");
    let bound = |queue: &str, key: &str| {
        let binding = json!({ "exchange": exchange, "kind": "topic", "routing_keys": [key] });
        config(json!({ "queue": name(queue), "declare": { "bindings": [binding] } }))
    };
    let (europe, all) = (bound("europe", "orders.eu.#"), bound("all", "orders.#"));
    let (europe, all) = (source(&europe).await, source(&all).await);
    let sink = config(json!({ "publish": { "exchange": exchange, "routing_key": "orders.us" } }));
    let sink = open(&sink, Direction::Sink).await;
    let elsewhere = numbered("b").annotate([(key::PUBLISH_ROUTING_KEY, "orders.eu.de")]);
    sink.dispatch(vec![numbered("a"), elsewhere]).await.expect("published");
    let deliveries = fetch(&europe, 1).await;
    assert_eq!(ids(&deliveries), ["b"]);
    assert_eq!(deliveries[0].transaction().metadata().text(key::ROUTING_KEY), Some("orders.eu.de"));
    assert_eq!(deliveries[0].transaction().metadata().get(key::PUBLISH_ROUTING_KEY), None);
    assert_eq!(ids(&fetch(&all, 2).await), ["a", "b"]);
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn exchanges_route_by_headers() {
    let exchange = name("headers");
    let arguments = json!({ "x-match": "all", "region": "EU", "grade": 2 });
    let binding = json!({ "exchange": exchange, "kind": "headers", "arguments": arguments });
    let input = config(json!({ "queue": name("europe"), "declare": { "bindings": [binding] } }));
    let input = source(&input).await;
    let publish = json!({ "exchange": exchange, "kind": "headers", "mandatory": false });
    let sink = open(&config(json!({ "publish": publish })), Direction::Sink).await;
    let of = |id: &str, region: &str| numbered(id).annotate([("region", json!(region)), ("grade", json!(2))]);
    sink.dispatch(vec![of("a", "US"), of("b", "EU")]).await.expect("published");
    assert_eq!(ids(&fetch(&input, 1).await), ["b"]);
    assert_eq!(input.count().await.expect("counted"), Some(0));
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn the_urgent_come_first() {
    let config = config(json!({ "queue": name("priority"), "declare": { "max_priority": 9 } }));
    let sink = open(&config, Direction::Sink).await;
    let with = |id: &str, priority: u64| numbered(id).annotate([(key::PUBLISH_PRIORITY, priority)]);
    sink.dispatch(vec![with("later", 1), with("at once", 9)]).await.expect("published");
    let input = source(&config).await;
    let deliveries = fetch(&input, 2).await;
    assert_eq!(ids(&deliveries), ["at once", "later"]);
    assert_eq!(deliveries[0].transaction().metadata().get(key::PRIORITY), Some(&json!(9)));
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_late_expires() {
    let late = name("late");
    let config = config(json!({ "queue": name("expiry"), "declare": { "dead_letter": { "queue": late } } }));
    let sink = open(&config, Direction::Sink).await;
    let transaction = numbered("too late").annotate([(key::PUBLISH_EXPIRATION, 0)]);
    sink.dispatch(vec![transaction]).await.expect("published");
    let passive = json!({ "url": url(), "queue": late, "passive": true });
    let dead = source(&serde_json::from_value(passive).expect("a config")).await;
    let deliveries = fetch(&dead, 1).await;
    assert_eq!(ids(&deliveries), ["too late"]);
    settle(&dead, deliveries, Disposition::Ack).await;
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_goes_to_the_dead_letters() {
    for kind in ["classic", "quorum"] {
        let dead = name(&format!("dead-{kind}"));
        let declare = json!({ "kind": kind, "dead_letter": { "queue": dead } });
        let config = config(json!({ "queue": name(kind), "declare": declare }));
        let sink = open(&config, Direction::Sink).await;
        sink.dispatch((0..10).map(|n| numbered(&n)).collect()).await.expect("published");
        let input = source(&config).await;
        let mut deliveries = fetch(&input, 10).await;
        let good = deliveries.split_off(5);
        let mut rejected: Vec<String> = ids(&deliveries).into_iter().map(str::to_owned).collect();
        settle(&input, deliveries, Disposition::Reject).await;
        settle(&input, good, Disposition::Ack).await;
        let passive = json!({ "url": url(), "queue": dead, "passive": true });
        let letters = source(&serde_json::from_value(passive).expect("a config")).await;
        let deliveries = fetch(&letters, 5).await;
        let mut found: Vec<String> = ids(&deliveries).into_iter().map(str::to_owned).collect();
        rejected.sort();
        found.sort();
        assert_eq!(found, rejected, "{kind}");
        settle(&letters, deliveries, Disposition::Ack).await;
    }
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn one_connector_consumes_several_queues() {
    let (first, second) = (name("first"), name("second"));
    let more = json!([{ "queue": second, "declare": { "arguments": { "x-expires": 60_000 } } }]);
    let input = source(&config(json!({ "queue": first, "subscriptions": more }))).await;
    for queue in [&first, &second] {
        let sink = open(&config(json!({ "publish": { "routing_key": queue } })), Direction::Sink).await;
        sink.dispatch((0..5).map(|n| numbered(&format!("{queue}/{n}"))).collect()).await.expect("published");
    }
    let deliveries = fetch(&input, 10).await;
    let of = |queue: &str| deliveries.iter().filter(|d| d.transaction().source() == Some(queue)).count();
    assert_eq!((of(&first), of(&second)), (5, 5));
    settle(&input, deliveries, Disposition::Ack).await;
    assert_eq!(input.count().await.expect("counted"), Some(0));
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn of_many_published_at_once_those_that_no_queue_takes_are_told() {
    let config = config(json!({ "queue": name("mixed"), "prefetch": 1000 }));
    let sink = std::sync::Arc::new(open(&config, Direction::Sink).await);
    let is_lost = |n: usize| n % 7 == 3;
    let calls = (0..40).map(|call| {
        let sink = std::sync::Arc::clone(&sink);
        async move {
            let numbers: Vec<usize> = (call * 25..(call + 1) * 25).collect();
            let transactions = numbers.iter().map(|n| {
                let lost = [(key::PUBLISH_ROUTING_KEY, "ergon.test.no.such.queue")];
                if is_lost(*n) { numbered(&n).annotate(lost) } else { numbered(&n) }
            });
            let error = sink.dispatch(transactions.collect()).await.expect_err("some are lost");
            assert!(error.message().contains("no queue accepted the message"), "{error}");
            for (index, n) in numbers.iter().enumerate() {
                let expected = if is_lost(*n) { ItemOutcome::NotDone } else { ItemOutcome::Done };
                assert_eq!(error.outcome(index), expected, "message {n}");
            }
        }
    });
    futures_util::future::join_all(calls).await;
    let input = source(&config).await;
    let found = fetch(&input, (0..1000).filter(|n| !is_lost(*n)).count()).await.len();
    assert_eq!((found, input.count().await.expect("counted")), (857, Some(0)));
}

/// An ack of a tag that the broker never assigned. The broker closes the channel (406), and the connection stays open.
#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_the_broker_closes_is_made_anew() {
    let config = config(json!({ "queue": name("closed") }));
    let sink = open(&config, Direction::Sink).await;
    sink.dispatch((0..10).map(|n| numbered(&n)).collect()).await.expect("published");
    let input = source(&config).await;
    let deliveries = fetch(&input, 10).await;
    assert!(deliveries.iter().all(|delivery| input.holds(delivery)), "they came over the channel there is");
    let never_given = Receipt::new(9_999).with_epoch(1);
    // The broker does not answer an ack, so a refusal of this ack is visible only later.
    let _ = input.settle(vec![Settlement::new(never_given, Disposition::Ack)]).await;
    let again = fetch(&input, 10).await;
    assert!(again.iter().all(|delivery| delivery.transaction().deliveries() == 2), "all come again");
    assert!(!deliveries.iter().any(|delivery| input.holds(delivery)), "the broker hands them out again");
    assert!(again.iter().all(|delivery| input.holds(delivery)));
    let error = input.settle(deliveries.into_iter().map(|one| one.settle(Disposition::Ack)).collect()).await;
    let error = error.expect_err("their channel is gone");
    assert!((0..10).all(|index| error.outcome(index) == ItemOutcome::Unknown), "{error}");
    settle(&input, again, Disposition::Ack).await;
    assert_eq!(input.count().await.expect("counted"), Some(0));
}

/// Returned messages are distinguished by their id. Here, all messages have the same id.
#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn of_messages_with_one_id_as_many_are_told_as_were_returned() {
    let config = config(json!({ "queue": name("one-id"), "prefetch": 1000 }));
    let sink = open(&config, Direction::Sink).await;
    let lost = [(key::PUBLISH_ROUTING_KEY, "ergon.test.no.such.queue")];
    let each = |n: usize| if n % 2 == 1 { numbered("same").annotate(lost) } else { numbered("same") };
    let error = sink.dispatch((0..400).map(each).collect()).await.expect_err("half of them are lost");
    let told = (0..400).filter(|index| error.outcome(*index) == ItemOutcome::NotDone).count();
    let input = source(&config).await;
    let arrived = fetch(&input, 200).await.len();
    assert_eq!((told, arrived, input.count().await.expect("counted")), (200, 200, Some(0)));
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_refuses_is_named() {
    let queue = name("refused");
    let made = config(json!({ "queue": queue, "declare": { "kind": "quorum" } }));
    open(&made, Direction::Source).await.close().await.expect("closed");
    let other = config(json!({ "queue": queue, "declare": { "max_priority": 3 } }));
    let error = opened(&other, Direction::Source).await.expect_err("made otherwise");
    assert!(error.is_permanent(), "{error}");
    let said = error.to_string();
    assert!(said.contains(&queue) && said.contains("x-queue-type"), "{said}");
    assert!(said.contains("received none") && said.contains("current is the value 'quorum'"), "{said}");
    let missing = json!({ "url": url(), "queue": name("missing"), "passive": true });
    let error = opened(&serde_json::from_value(missing).expect("a config"), Direction::Source).await;
    let error = error.expect_err("not there");
    assert!(error.is_permanent() && error.message().contains("NOT_FOUND"), "{error}");
    let exchange = config(json!({ "publish": { "exchange": name("no-exchange"), "routing_key": "a" } }));
    let error = opened(&exchange, Direction::Sink).await.expect_err("not there");
    assert!(error.is_permanent() && error.message().contains("no-exchange"), "{error}");
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_a_queue_takes_nothing_from_it() {
    let config = config(json!({ "queue": name("checked"), "declare": { "kind": "quorum" } }));
    open(&config, Direction::Sink).await.dispatch(vec![numbered("waiting")]).await.expect("published");
    for direction in [Direction::Source, Direction::Sink, Direction::Any] {
        built(&config, direction).expect("built").check().await.expect("all is well");
    }
    let deliveries = fetch(&source(&config).await, 1).await;
    assert_eq!(deliveries[0].transaction().deliveries(), 1, "it is handed out for the first time");
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_what_the_broker_refuses() {
    let missing = config(json!({ "queue": name("missing"), "passive": true }));
    for direction in [Direction::Source, Direction::Sink] {
        let error =
            built(&missing, direction).expect("built").check().await.expect_err("there is no such queue");
        assert!(error.is_permanent() && error.message().contains("NOT_FOUND - no queue"), "{error}");
    }
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_large_is_refused_before_it_is_sent() {
    let config = config(json!({ "queue": name("large"), "publish": { "max_message": "1KiB" } }));
    let sink = open(&config, Direction::Sink).await;
    let large = Transaction::new("large", &"x".repeat(2000)).expect("a text");
    let error = sink.dispatch(vec![numbered("small"), large]).await.expect_err("too large");
    assert_eq!((error.outcome(0), error.outcome(1)), (ItemOutcome::Done, ItemOutcome::NotDone));
    assert!(
        error.message().contains("`large` has 2002 bytes") && error.message().contains("1KiB"),
        "{error}"
    );
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_no_frame_holds_are_refused_and_take_nobody_along() {
    let config = config(json!({ "queue": name("headers") }));
    let sink = open(&config, Direction::Sink).await;
    let large = numbered("large").annotate([("note", "x".repeat(200_000))]);
    let fits = numbered("fits").annotate([("note", "x".repeat(120_000))]);
    let (large, beside, fits) = tokio::join!(
        sink.dispatch(vec![large]),
        sink.dispatch(vec![numbered("beside")]),
        sink.dispatch(vec![fits])
    );
    let error = large.expect_err("no frame holds it");
    assert!(
        error.is_permanent() && error.message().contains("the largest is `note` with 200005 bytes"),
        "{error}"
    );
    beside.expect("published");
    fits.expect("published");
    // The message of a rejected transaction is never too long.
    let letter = numbered("letter").annotate([("ergon-error", "x".repeat(200_000))]);
    sink.dispatch(vec![letter]).await.expect("published");
    let delivered = fetch(&source(&config).await, 3).await;
    let letter = delivered.iter().find(|delivery| delivery.transaction().id() == "letter").expect("it came");
    let said = letter.transaction().metadata().text("ergon-error").expect("a text");
    assert!(said.ends_with("x… (200000 bytes in all)") && said.len() < 9000, "{}", said.len());
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn metadata_come_as_they_went_or_are_refused() {
    let config = config(json!({ "queue": name("metadata") }));
    let sink = open(&config, Direction::Sink).await;
    let refused = [
        ("amqp.publish.routing_key", json!(7), "its `amqp.publish.routing_key` is 7, expected a text"),
        ("amqp.publish.priority", json!("5"), "expected a number from 0 to 255"),
        (
            "amqp.publish.priority",
            json!(300),
            "its `amqp.publish.priority` is 300, expected a number from 0 to 255",
        ),
        ("amqp.publish.expiration", json!("1s"), "expected a number of milliseconds"),
        ("", json!(1), "a name of 256 bytes, longer than the 255"),
    ];
    for (key, value, told) in refused {
        let key = if key.is_empty() { "n".repeat(256) } else { key.to_owned() };
        let error = sink.dispatch(vec![numbered("a").annotate([(key, value)])]).await.expect_err(told);
        assert!(error.is_permanent() && error.message().contains(told), "{error}");
    }
    let goes = [("ergon-shop", json!("Columbus")), ("most", json!(u64::MAX)), ("half", json!(0.5))];
    sink.dispatch(vec![numbered("a").annotate(goes)]).await.expect("published");
    let delivered = fetch(&source(&config).await, 1).await;
    let metadata = delivered[0].transaction().metadata();
    let came = ["ergon-shop", "most", "half"].map(|key| metadata.get(key).cloned().unwrap_or_default());
    assert_eq!(came, [json!("Columbus"), json!("18446744073709551615"), json!(0.5)]);
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_message_id_is_none() {
    let config = config(json!({ "queue": name("empty.id") }));
    let sink = open(&config, Direction::Sink).await;
    let of = |body: &str| Transaction::builder().id("").payload(Payload::text(body)).build();
    sink.dispatch(vec![of("one"), of("two")]).await.expect("published");
    let delivered = fetch(&source(&config).await, 2).await;
    let ids: Vec<_> = delivered.iter().map(|delivery| delivery.transaction().id()).collect();
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id.contains("empty.id:")), "{ids:?}");
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_another_type_is_read_as_json_where_the_settings_say_so() {
    let queue = name("decode");
    let bytes = ContentType::from("application/x-order");
    let sent =
        Transaction::builder().id("a").payload(Payload::bytes(bytes, br#"{"a":1}"#.as_slice())).build();
    let by_type = config(json!({ "queue": queue }));
    open(&by_type, Direction::Sink).await.dispatch(vec![sent]).await.expect("published");
    let input = source(&by_type).await;
    let delivered = fetch(&input, 1).await;
    delivered[0].transaction().decode::<std::collections::HashMap<String, u32>>().expect_err("bytes");
    settle(&input, delivered, Disposition::Requeue).await;
    drop(input);
    let input = source(&config(json!({ "queue": queue, "decode": "json" }))).await;
    let delivered = fetch(&input, 1).await;
    assert_eq!(delivered[0].transaction().decode::<Value>().expect("JSON"), json!({"a": 1}));
    assert_eq!(delivered[0].transaction().metadata().text(key::CONTENT_TYPE), Some("application/x-order"));
    settle(&input, delivered, Disposition::Ack).await;
}

/// Acks even numbers, and rejects odd numbers.
#[ergon::task(connectors(input), consumer(concurrency = 16))]
struct Halve;

impl Consumer for Halve {
    type Payload = u64;
    type Output = ();

    async fn process_transaction(&self, number: &Transaction<u64>) -> Result<()> {
        if number.payload().is_multiple_of(2) { Ok(()) } else { Err(TransactionError::business("odd")) }
    }
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn a_finite_run_ends_when_the_queue_is_empty() {
    let declare = json!({ "dead_letter": { "queue": name("odd") } });
    let config = config(json!({ "queue": name("finite"), "declare": declare }));
    let sink = open(&config, Direction::Sink).await;
    let numbers = (0..1000_u64).map(|n| Transaction::new(n.to_string(), &n).expect("a number"));
    sink.dispatch(numbers.collect()).await.expect("published");
    let report = testing::run(Halve::config(HalveWiring { input: config.clone() })).await.expect("run");
    assert_eq!((report.tally.succeeded, report.tally.failed.business), (500, 500));
    assert!(matches!(report.ended, Ended::SourceEmpty), "{:?}", report.ended);
    let input = source(&config).await;
    assert_eq!(input.count().await.expect("counted"), Some(0));
}

/// Rejects odd numbers, with a prefetch of one.
#[ergon::task(connectors(numbers, letters), consumer(streaming, dead_letter = letters))]
struct TakeEven;

impl Consumer for TakeEven {
    type Payload = u64;
    type Output = ();

    async fn process_transaction(&self, number: &Transaction<u64>) -> Result<()> {
        if number.payload().is_multiple_of(2) { Ok(()) } else { Err(TransactionError::business("odd")) }
    }
}

/// A classic queue puts a requeued message at its head, and delivers at most the prefetch. A message whose dead letter
/// is not accepted must neither be delivered again and again nor stop the queue.
#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test]
async fn messages_whose_dead_letters_are_not_taken_do_not_stop_the_queue() {
    let queue = config(json!({"queue": name("poison")}));
    let numbers: Vec<_> =
        (0..60).map(|n| Transaction::new(format!("n-{n}"), &(n + 1)).expect("a number")).collect();
    open(&queue, Direction::Sink).await.dispatch(numbers).await.expect("dispatched");
    let letters = ergon_tests::FlakyConfig::new();
    let errors = (0..100_000).map(|_| ConnectorError::transient("full"));
    letters.faults.dispatches.lock().expect("unpoisoned").extend(errors);
    let config = TakeEven::config(TakeEvenWiring { numbers: queue, letters: letters.clone() });
    let running = testing::start(config).await.expect("started");
    let even = async {
        while running.tally().succeeded < 30 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), even).await.expect("the even ones are taken");
    assert_eq!(
        (running.tally().requeued, running.tally().given_back),
        (0, 0),
        "none is given back, to come again"
    );
    letters.faults.dispatches.lock().expect("unpoisoned").clear();
    let lettered = async {
        while letters.queue.inspect().waiting < 30 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), lettered).await.expect("the odd ones are taken at last");
    running.stop();
    let tally = running.wait().await.expect("closed").tally;
    assert_eq!((tally.fetched, tally.processed, tally.dead_lettered, tally.unknown), (60, 60, 30, 0));
}

/// Waits until the test has checked the queue.
#[ergon::task(connectors(numbers), services(gate: Gate), consumer(streaming, mode = "batch", batch_size = 5))]
struct TakeInBatches;

#[derive(Debug, Clone)]
struct Gate(std::sync::Arc<tokio::sync::Semaphore>);

impl Service for Gate {}

impl ServiceConfig for Gate {
    type Service = Self;

    fn build(&self) -> Result<Self, ServiceError> {
        Ok(self.clone())
    }
}

impl Consumer for TakeInBatches {
    type Payload = u64;
    type Output = ();

    async fn process_transaction(&self, _: &Transaction<u64>) -> Result<()> {
        self.gate_service.0.acquire().await.system()?.forget();
        Ok(())
    }
}

/// With `mode = "batch"`, the broker delivers a whole batch, and nothing of the next batch before the first has ended.
#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test]
async fn in_batch_mode_the_broker_hands_out_one_batch() {
    let queue = config(json!({"queue": name("batches")}));
    let sink = open(&queue, Direction::Sink).await;
    let numbers = (0..12_u64).map(|n| Transaction::new(format!("n-{n}"), &n).expect("a number"));
    sink.dispatch(numbers.collect()).await.expect("dispatched");
    let gate = Gate(std::sync::Arc::new(tokio::sync::Semaphore::new(0)));
    let config = TakeInBatches::config(TakeInBatchesWiring { numbers: queue.clone(), gate: gate.clone() });
    let running = testing::start(config).await.expect("started");
    let client = ergon_tests::broker::Client::connect(&url()).await.expect("the broker answers");
    let place = queue.queue.clone().expect("a queue");
    for left in [7, 2, 0] {
        ergon_tests::until("a batch is handed out", Duration::from_secs(30), || async {
            client.ready(&place).await.expect("the broker answers") == left
        })
        .await;
        gate.0.add_permits(5);
    }
    ergon_tests::until("all are done", Duration::from_secs(30), || async { running.tally().succeeded == 12 })
        .await;
    running.stop();
    running.wait().await.expect("closed");
}
