//! Tests that each property and header of a message is published again with the same type, and that a check reports an
//! address without a broker.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use lapin::BasicProperties;
use lapin::message::Delivery as Message;
use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable, ShortString};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::message::{Outgoing, delivery};
use super::properties::Publisher;
use super::{Decode, OPEN_WITHIN, RabbitMqConfig, key};
use crate::connector::{Connector, ConnectorConfig, ConnectorError, Context, Direction};
use crate::transaction::{ContentType, Metadata, Payload, Transaction, key as own};

const USER: &str = "guest";

fn config() -> RabbitMqConfig {
    RabbitMqConfig::new("amqp://localhost", "orders")
}

fn decoded(properties: BasicProperties, body: &[u8], decode: Decode) -> Transaction {
    let mut message = Message::mock(1, "".into(), "orders".into(), false, body.to_vec());
    message.properties = properties;
    delivery(message, &Arc::from("orders"), 1, decode).into_parts().0
}

fn came(properties: BasicProperties) -> Transaction {
    decoded(properties, b"{}", Decode::ContentType)
}

fn published(transaction: &Transaction) -> Result<BasicProperties, ConnectorError> {
    let config = config();
    Outgoing::of(transaction, Publisher { config: &config, user: USER }).map(|message| message.properties)
}

/// Makes the message that goes back to the source.
fn back(transaction: &Transaction) -> BasicProperties {
    let config = config();
    Outgoing::back(transaction, Publisher { config: &config, user: USER }, "orders").unwrap().properties
}

/// Makes the dead letter of a rejected transaction, as it is in a queue.
fn letter(transaction: &Transaction) -> Transaction {
    came(published(&transaction.annotate([(own::ERROR, "no stock")])).unwrap())
}

/// Makes the transaction that `dead-letters replay` sends back.
fn revived(letter: &Transaction) -> Transaction {
    let kept = letter.metadata().iter().filter(|(name, _)| *name != own::ERROR);
    let kept = kept.map(|(name, value)| (name.to_owned(), value.clone())).collect::<Metadata>();
    let mut revived = Transaction::builder()
        .id(letter.id())
        .payload(letter.payload().clone())
        .created_at(letter.created_at())
        .all_metadata(kept);
    if letter.correlation_id() != letter.id() {
        revived = revived.correlation_id(letter.correlation_id());
    }
    revived.build()
}

/// Makes the same transaction from a dead letter in a file, which keeps only the JSON text of the metadata.
fn through_text(transaction: &Transaction) -> Transaction {
    let text = serde_json::to_string(transaction.metadata()).unwrap();
    let metadata: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    let mut read = Transaction::builder()
        .id(transaction.id())
        // A file marks JSON that it cannot hold as JSON text.
        .payload(Payload::text("{"))
        .created_at(transaction.created_at())
        .all_metadata(metadata.into_iter().collect());
    if transaction.correlation_id() != transaction.id() {
        read = read.correlation_id(transaction.correlation_id());
    }
    read.build()
}

/// Removes the headers that Ergon adds, and replaces numbers by their bits, so that NaN equals itself.
fn headers(properties: &BasicProperties) -> Vec<String> {
    let own = ["ergon-created-at", "ergon-expiration", "ergon-user-id", "ergon-error", "ergon-id"];
    let headers = properties.headers().iter().flatten().filter(|(name, _)| !own.contains(&name.as_str()));
    headers.map(|(name, value)| format!("{name} {}", bits(value))).collect()
}

fn bits(value: &AMQPValue) -> String {
    match value {
        AMQPValue::Float(value) => format!("float {:x}", value.to_bits()),
        AMQPValue::Double(value) => format!("double {:x}", value.to_bits()),
        AMQPValue::FieldArray(items) => {
            format!("{:?}", items.as_slice().iter().map(bits).collect::<Vec<_>>())
        }
        AMQPValue::FieldTable(table) => {
            format!("{:?}", table.into_iter().map(|(name, item)| (name, bits(item))).collect::<Vec<_>>())
        }
        // This type has no code on the wire: no receiver sees it, and it is sent as a long integer.
        AMQPValue::ShortString(text) => bits(&AMQPValue::LongString(text.as_str().into())),
        other => format!("{other:?}"),
    }
}

/// Removes the headers, and the properties that a message without them receives.
fn bare(properties: &BasicProperties, like: &BasicProperties) -> BasicProperties {
    let mut bare = BasicProperties::default();
    macro_rules! copy {
        ($($get:ident $with:ident;)*) => {$(
            if let Some(value) = properties.$get().clone() {
                bare = bare.$with(value);
            }
        )*};
    }
    copy! {
        content_type with_content_type;
        content_encoding with_content_encoding;
        priority with_priority;
        correlation_id with_correlation_id;
        reply_to with_reply_to;
        expiration with_expiration;
        kind with_type;
        user_id with_user_id;
        app_id with_app_id;
        cluster_id with_cluster_id;
    }
    if like.delivery_mode().is_some() {
        bare = bare.with_delivery_mode(properties.delivery_mode().unwrap());
    }
    if like.timestamp().is_some() {
        bare = bare.with_timestamp(properties.timestamp().unwrap());
    }
    if like.message_id().as_ref().is_some_and(|id| !id.as_str().is_empty()) {
        bare = bare.with_message_id(properties.message_id().clone().unwrap());
    }
    bare
}

#[track_caller]
fn same(came: &BasicProperties, went: &BasicProperties) {
    assert_eq!(bare(went, came), bare(came, came));
    assert_eq!(headers(went), headers(came));
}

fn short() -> impl Strategy<Value = ShortString> {
    prop_oneof!["\\PC{0,20}", "[a-z+/;= -]{0,30}"]
        .prop_map(|text| ShortString::try_new(text).unwrap_or_default())
}

/// Generates names of headers, including names that look like Ergon's own and like properties.
fn name() -> impl Strategy<Value = ShortString> {
    let taken =
        ["amqp.reply_to", "amqp.header_types", "amqp.header.x", "amqp.publish.routing_key", "amqp.", "0"];
    prop_oneof![
        4 => short(),
        1 => proptest::sample::select(taken.to_vec()).prop_map(ShortString::from)
    ]
}

fn value() -> impl Strategy<Value = AMQPValue> {
    let single = prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<u32>().prop_map(|bits| AMQPValue::Float(f32::from_bits(bits))),
        any::<u64>().prop_map(|bits| AMQPValue::Double(f64::from_bits(bits))),
        (any::<u8>(), any::<u32>())
            .prop_map(|(scale, value)| AMQPValue::DecimalValue(DecimalValue { scale, value })),
        short().prop_map(AMQPValue::ShortString),
        "\\PC{0,40}".prop_map(|text| AMQPValue::LongString(text.into())),
        vec(any::<u8>(), 0..40).prop_map(|bytes| AMQPValue::LongString(bytes.into())),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        vec(any::<u8>(), 0..40).prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
        Just(AMQPValue::Void),
    ];
    single.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(|items| AMQPValue::FieldArray(FieldArray::from(items))),
            btree_map(name(), inner, 0..6).prop_map(|items| AMQPValue::FieldTable(items.into())),
        ]
    })
}

prop_compose! {
    fn messages()(
        (content_type, content_encoding, reply_to, kind) in
            (option::of(short()), option::of(short()), option::of(short()), option::of(short())),
        (app_id, user_id, cluster_id, correlation_id, message_id) in (
            option::of(short()), option::of(prop_oneof![short(), Just(USER.into())]), option::of(short()),
            option::of(prop_oneof![short(), Just("id".into())]), option::of(prop_oneof![short(), Just("id".into())]),
        ),
        (priority, delivery_mode, timestamp) in
            (option::of(any::<u8>()), option::of(any::<u8>()), option::of(any::<u64>())),
        // The broker accepts no other text.
        expiration in option::of(any::<u32>()),
        headers in option::of(btree_map(name(), value(), 0..8)),
    ) -> BasicProperties {
        let mut properties = BasicProperties::default();
        macro_rules! set {
            ($($value:ident $with:ident;)*) => {$(
                if let Some(value) = $value {
                    properties = properties.$with(value);
                }
            )*};
        }
        let expiration = expiration.map(|millis| ShortString::from(millis.to_string()));
        let headers = headers.map(FieldTable::from);
        set! {
            content_type with_content_type; content_encoding with_content_encoding; reply_to with_reply_to;
            kind with_type; app_id with_app_id; user_id with_user_id; cluster_id with_cluster_id;
            correlation_id with_correlation_id; message_id with_message_id; priority with_priority;
            delivery_mode with_delivery_mode; timestamp with_timestamp; expiration with_expiration;
            headers with_headers;
        }
        properties
    }
}

/// The broker accepts this user id only from its own user.
fn of_this_user(properties: BasicProperties) -> BasicProperties {
    if properties.user_id().as_ref().is_some_and(|user| user.as_str() != USER) {
        return properties.with_user_id(USER.into());
    }
    properties
}

proptest! {
    #[test]
    fn a_forwarded_message_is_the_one_that_came(properties in messages()) {
        let properties = of_this_user(properties);
        same(&properties, &published(&came(properties.clone()).forward()).unwrap());
    }

    #[test]
    fn a_letter_and_its_redrive_are_the_message_that_came(properties in messages()) {
        let properties = of_this_user(properties);
        let letter = letter(&came(properties.clone()));
        same(&properties, &back(&revived(&letter)));
        same(&properties, &back(&revived(&through_text(&letter))));
    }

    #[test]
    fn a_letter_that_was_only_in_a_file_goes_back_as_the_message_that_came(properties in messages()) {
        let properties = of_this_user(properties);
        let letter = came(properties.clone()).annotate([(own::ERROR, "no stock")]);
        same(&properties, &back(&revived(&through_text(&letter))));
    }

    #[test]
    fn no_metadata_make_a_letter_fail_or_anything_panic(
        keys in vec(proptest::sample::select(vec![
            key::CONTENT_TYPE, key::CONTENT_ENCODING, key::REPLY_TO, key::TYPE, key::APP_ID, key::USER_ID,
            key::EXPIRATION, key::PRIORITY, key::DELIVERY_MODE, key::TIMESTAMP, key::CORRELATION_ID,
            key::HEADER_TYPES, "a", "ergon-user-id", "ergon-created-at", "ergon-id", "ergon-expiration",
        ]), 0..8),
        values in vec(value(), 8),
        kinds in "(int8|decimal:[0-9]{0,4}|float:[0-9a-f]{0,9}|double:\\PC{0,20}|bytes|text|timestamp|\\PC{0,9})",
    ) {
        let values = values.iter().map(|value| super::headers::json(value).0);
        let metadata = keys.into_iter().zip(values).chain([(key::HEADER_TYPES, json!({"a": kinds}))]);
        let transaction = Transaction::builder().id("id").payload(Payload::text("x"));
        let transaction = transaction.all_metadata(metadata.collect()).build();
        // The conversion may succeed or return an error, but never panics.
        let _ = published(&transaction);
        published(&transaction.annotate([(own::ERROR, "no stock")])).unwrap();
    }
}

#[test]
fn a_letter_does_not_expire_and_its_redrive_does() {
    let sent = BasicProperties::default().with_message_id("a".into()).with_expiration("600000".into());
    let refused = published(&came(sent).annotate([(own::ERROR, "no stock")])).unwrap();
    assert_eq!(*refused.expiration(), None);
    let letter = came(refused);
    assert_eq!(letter.metadata().text(key::EXPIRATION), Some("600000"));
    assert_eq!(back(&revived(&letter)).expiration().as_ref().unwrap().as_str(), "600000");
}

#[test]
fn another_users_id_is_said_in_a_header_and_never_passed_off_as_checked() {
    let sent = BasicProperties::default().with_message_id("a".into()).with_user_id("alice".into());
    let refused = published(&came(sent).annotate([(own::ERROR, "no stock")])).unwrap();
    assert_eq!(*refused.user_id(), None);
    let letter = came(refused);
    assert_eq!(letter.metadata().get(key::USER_ID), None, "the broker has checked nothing");
    assert_eq!(letter.metadata().text("ergon-user-id"), Some("alice"));
    let config = config();
    let alice = Publisher { config: &config, user: "alice" };
    let sent_back = Outgoing::back(&revived(&letter), alice, "orders").unwrap().properties;
    assert_eq!(sent_back.user_id().as_ref().unwrap().as_str(), "alice");
    assert!(headers(&sent_back).iter().all(|header| !header.contains("alice")));
}

#[test]
fn a_header_never_passes_for_a_property() {
    let mut table = FieldTable::default();
    for name in ["amqp.user_id", "amqp.publish.routing_key", "amqp.exchange", "amqp.header_types"] {
        table.insert(name.into(), AMQPValue::LongString("forged".into()));
    }
    let transaction = came(BasicProperties::default().with_headers(table));
    let metadata = transaction.metadata();
    assert_eq!((metadata.get(key::USER_ID), metadata.text(key::EXCHANGE)), (None, Some("")));
    assert_eq!(metadata.text("amqp.header.amqp.user_id"), Some("forged"));
    let config = config();
    let message = Outgoing::of(&transaction, Publisher { config: &config, user: USER }).unwrap();
    assert_eq!(message.routing_key.as_str(), "orders");
}

/// The broker would send the copies again: a dead letter would reach the receivers that already have the message.
#[test]
fn copies_that_a_message_asked_for_are_not_asked_for_again() {
    let copies = || AMQPValue::FieldArray(vec![AMQPValue::LongString("audit".into())].into());
    let table = FieldTable::from(std::collections::BTreeMap::from([("CC".into(), copies())]));
    let refused =
        published(&came(BasicProperties::default().with_headers(table)).annotate([(own::ERROR, "no")]));
    let refused = refused.unwrap();
    let headers = refused.headers().as_ref().unwrap();
    assert_eq!((headers.inner().get("CC"), headers.inner().get("ergon-cc")), (None, Some(&copies())));
    let set = Transaction::new("a", &1).unwrap().annotate([("CC", json!(["audit"]))]);
    assert!(published(&set).unwrap().headers().as_ref().unwrap().contains_key("CC"), "this one is meant");
}

#[test]
fn a_number_out_of_range_is_refused_by_name_and_not_clipped() {
    let of = |key: &'static str, value: Value| Transaction::new("a", &1).unwrap().annotate([(key, value)]);
    for (key, value, told) in [
        (
            key::PUBLISH_PRIORITY,
            json!(256),
            "its `amqp.publish.priority` is 256, expected a number from 0 to 255",
        ),
        (key::PRIORITY, json!(300), "its `amqp.priority` is 300, expected a number from 0 to 255"),
        (key::PRIORITY, json!(-1), "its `amqp.priority` is -1, expected a number from 0 to 255"),
        (key::DELIVERY_MODE, json!(700), "its `amqp.delivery_mode` is 700, expected 1 or 2"),
        (key::PUBLISH_EXPIRATION, json!(u64::MAX), "expected a number of milliseconds up to 4294967295"),
        (key::EXPIRATION, json!("soon"), "its `amqp.expiration` is \"soon\", expected the text of a number"),
        (key::REPLY_TO, json!("x".repeat(256)), "expected a text of at most 255 bytes"),
        (key::TIMESTAMP, json!(1.5), "expected a number of seconds since 1970"),
    ] {
        let error = published(&of(key, value)).unwrap_err();
        assert!(error.is_permanent() && error.message().contains(told), "{error}");
    }
    let most = published(&of(key::PUBLISH_PRIORITY, json!(255))).unwrap();
    assert_eq!(*most.priority(), Some(255));
}

#[test]
fn a_time_beyond_every_calendar_is_kept_as_it_came() {
    for seconds in [1_700_000_000_000, 253_402_300_800, i64::MAX.unsigned_abs(), u64::MAX] {
        let transaction = came(BasicProperties::default().with_timestamp(seconds));
        assert_eq!(transaction.metadata().get(key::TIMESTAMP), Some(&json!(seconds)));
        assert_eq!(*published(&transaction).unwrap().timestamp(), Some(seconds));
    }
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let transaction = Transaction::builder().id("a").payload(Payload::text("x")).metadata("n", 1);
    let properties = published(&transaction.created_at(before).build()).unwrap();
    assert_eq!(*properties.timestamp(), Some(0), "a message has no time before 1970");
    assert_eq!(came(properties).created_at(), before);
}

#[test]
fn content_types_are_compared_without_case_and_parameters() {
    let of = |content_type: &str, decode: Decode| {
        let properties = BasicProperties::default().with_content_type(content_type.into());
        decoded(properties, br#"{"a": 1}"#, decode)
    };
    for name in
        ["Application/JSON", "APPLICATION/JSON; charset=UTF-8", "text/Json ;v=1", "application/Vnd.A+JSON"]
    {
        let transaction = of(name, Decode::ContentType);
        assert_eq!(transaction.decode::<Value>().unwrap(), json!({"a": 1}), "{name}");
        assert_eq!(published(&transaction).unwrap().content_type().as_ref().unwrap().as_str(), name);
    }
    assert_eq!(*of("TEXT/Plain", Decode::ContentType).payload().content_type(), ContentType::Text);
    for name in
        ["application/x-order", "text/plain; charset=utf-8", "application/octet-stream", "nonsense", ""]
    {
        assert!(
            of(name, Decode::ContentType).decode::<std::collections::HashMap<String, u32>>().is_err(),
            "{name}"
        );
        let transaction = of(name, Decode::Json);
        assert_eq!(transaction.decode::<Value>().unwrap(), json!({"a": 1}), "{name}");
        assert_eq!(published(&transaction).unwrap().content_type().as_ref().unwrap().as_str(), name);
    }
}

/// Metadata that were copied to another payload do not describe it.
#[test]
fn a_new_payload_is_not_called_what_the_old_one_was() {
    let properties = BasicProperties::default()
        .with_content_type("text/xml".into())
        .with_content_encoding("gzip".into())
        .with_reply_to("answers".into());
    let old = came(properties);
    let new = Transaction::builder().id("b").payload(Payload::json(&1).unwrap());
    let new = published(&new.all_metadata(old.metadata().clone()).build()).unwrap();
    assert_eq!(new.content_type().as_ref().unwrap().as_str(), "application/json");
    assert_eq!((new.content_encoding().clone(), new.reply_to().clone()), (None, Some("answers".into())));
}

/// Returns the message of a check of a source at this address, within a time limit.
async fn checked(address: SocketAddr) -> (String, String) {
    let config = RabbitMqConfig::new(format!("amqp://{address}"), "orders");
    let mut context = Context::new("task", "slot");
    context.direction = Direction::Source;
    let connector = config.build(&context).unwrap();
    let checked = timeout(OPEN_WITHIN / 2, connector.check()).await.expect("it is not tried again");
    let error = checked.unwrap_err();
    let message = error.message().replace(&address.to_string(), "ADDRESS");
    (message, error.hint().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_at_once_that_nobody_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (message, hint) = checked(address).await;
    assert_eq!(message, "nothing listens at amqp://ADDRESS");
    assert_eq!(hint, "start the broker, or check the host and the port");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_otherwise_than_a_broker_is_told_of() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answering = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        // The header of the protocol.
        socket.read_exact(&mut [0; 8]).unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").unwrap();
    });
    let (message, hint) = checked(address).await;
    assert_eq!(message, "the server at amqp://ADDRESS does not speak AMQP");
    assert_eq!(
        hint,
        "check the host and the port; RabbitMQ's default port is 5672, and port 15672 is its web page"
    );
    answering.join().unwrap();
}
