//! Tests that payloads and connectors return numbers unchanged, or refuse them.

#![allow(
    clippy::float_cmp,
    clippy::cast_possible_truncation,
    reason = "a number is to be the same to the last bit"
)]

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::csv::CsvConfig;
use super::excel::ExcelConfig;
use super::json_lines::{Envelope, JsonLinesConfig};
use super::memory::MemoryConfig;
use super::{
    Connector, ConnectorConfig, ConnectorError, Context, Delivery, Direction, FetchRequest, Sink, Source,
};
use crate::transaction::{ContentType, Payload, Record, Transaction, TransactionError};

fn case(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/cases")).join(name)
}

fn context(direction: Direction) -> Context {
    let mut context = Context::new("test", "numbers");
    context.direction = direction;
    context
}

async fn read<C: ConnectorConfig>(config: &C) -> Vec<Delivery>
where
    C::Connector: Source,
{
    let source = config.build(&context(Direction::Source)).unwrap();
    source.open().await.unwrap();
    let mut all = Vec::new();
    loop {
        let some = source.fetch(&FetchRequest::new(10_000)).await.unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

async fn write<C: ConnectorConfig>(config: &C, transactions: Vec<Transaction>) -> Result<(), ConnectorError>
where
    C::Connector: Sink,
{
    let sink = config.build(&context(Direction::Sink)).unwrap();
    sink.open().await?;
    sink.start().await?;
    sink.dispatch(transactions).await?;
    sink.close().await
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
struct Line {
    name: String,
    #[serde(rename = "unit price")]
    price: f64,
}

#[derive(Debug, Clone, Serialize, PartialEq)]
struct Order {
    lines: Vec<Line>,
    weight: Option<f32>,
}

fn order(price: f64, weight: f32) -> Order {
    let line = |price| Line { name: "screw".to_owned(), price };
    Order { lines: vec![line(1.0), line(price)], weight: Some(weight) }
}

/// All ways in which a value becomes a payload.
fn made<T: Serialize + Clone>(value: &T) -> Vec<(&'static str, Result<(), TransactionError>)> {
    let parent = Transaction::new("parent", &1).unwrap();
    vec![
        ("new", Transaction::new("id", value).map(drop)),
        ("typed", Transaction::typed("id", value.clone()).map(drop)),
        ("derive", parent.derive(value).map(drop)),
        ("json", Payload::json(value).map(drop)),
    ]
}

#[test]
fn a_number_that_json_cannot_hold_is_refused_wherever_a_payload_is_made() {
    for (number, shown) in [(f64::NAN, "NaN"), (f64::INFINITY, "infinity"), (f64::NEG_INFINITY, "-infinity")]
    {
        for (way, result) in made(&order(number, 1.0)) {
            let error = result.expect_err(way);
            let expected =
                format!("the payload cannot be written as JSON: its field `lines[1].unit price` is {shown}");
            assert_eq!((error.message(), error.category().as_str()), (&*expected, "business"), "{way}");
        }
        for (way, result) in made(&order(1.0, number as f32)) {
            assert!(
                result.expect_err(way).message().ends_with(&format!("its field `weight` is {shown}")),
                "{way}"
            );
        }
        for (way, result) in made(&number) {
            let expected = format!("the payload cannot be written as JSON: it is {shown}");
            assert_eq!(result.expect_err(way).message(), expected);
        }
    }
    for (way, result) in made(&order(f64::MAX, f32::MIN_POSITIVE)) {
        assert!(result.is_ok(), "{way}");
    }
}

#[test]
fn a_refused_number_is_found_in_every_shape() {
    #[derive(Clone, Serialize)]
    enum Shape {
        Newtype(f64),
        Tuple(u8, f64),
        Struct { size: f64 },
    }
    #[derive(Clone, Serialize)]
    struct Pair(u8, f64);
    let map = |value| std::collections::BTreeMap::from([(7, value)]);
    let found = |value: Result<Transaction, TransactionError>| value.unwrap_err().message().to_owned();
    let shapes = [
        (found(Transaction::new("id", &Shape::Newtype(f64::NAN))), "its field `Newtype` is NaN"),
        (found(Transaction::new("id", &Shape::Tuple(1, f64::NAN))), "its field `Tuple[1]` is NaN"),
        (found(Transaction::new("id", &Shape::Struct { size: f64::NAN })), "its field `Struct.size` is NaN"),
        (found(Transaction::new("id", &Pair(1, f64::NAN))), "its field `[1]` is NaN"),
        (found(Transaction::new("id", &(1, [1.0, f64::NAN]))), "its field `[1][1]` is NaN"),
        (found(Transaction::new("id", &map(f64::NAN))), "its field `7` is NaN"),
        (found(Transaction::new("id", &Some(Box::new(f32::NAN)))), "it is NaN"),
    ];
    for (message, expected) in shapes {
        assert!(message.ends_with(expected), "{message}");
    }
}

#[test]
fn what_is_no_refused_number_is_written_as_before() {
    let raw = RawValue::from_string("[1e400, 1.10]".to_owned()).unwrap();
    let value =
        json!({"none": null, "unit": (), "list": [1, -2, 2.5], "text": "NaN", "map": {"a": {"b": [true]}}});
    for bytes in [
        (Payload::json(&raw).unwrap().to_bytes().unwrap(), raw.get().to_owned()),
        (Payload::json(&value).unwrap().to_bytes().unwrap(), value.to_string()),
        (
            Payload::json(&(u128::MAX, i128::MIN)).unwrap().to_bytes().unwrap(),
            format!("[{},{}]", u128::MAX, i128::MIN),
        ),
        (Payload::json(&Some('c')).unwrap().to_bytes().unwrap(), "\"c\"".to_owned()),
    ] {
        assert_eq!(bytes.0, bytes.1);
    }
    let error = Payload::json(&std::collections::BTreeMap::from([(vec![1], 2)])).unwrap_err();
    assert_eq!(error.message(), "the payload cannot be written as JSON");
}

#[test]
fn a_number_of_a_text_cell_that_is_not_finite_is_refused_by_name() {
    let names: std::sync::Arc<[String]> = ["name".to_owned(), "unit price".to_owned()].into();
    let decode = |cell: &str| {
        let record = Record::text(std::sync::Arc::clone(&names), vec!["screw".to_owned(), cell.to_owned()]);
        Payload::record(record).decode::<Line>()
    };
    for cell in ["NaN", "nan", "-nan", "inf", "+inf", "-Infinity", "1e400", "-1e400"] {
        let error = decode(cell).unwrap_err();
        assert_eq!(error.field(), Some("unit price"), "{cell}");
        assert!(error.to_string().contains(&format!("{cell:?}")), "{error}");
    }
    for (cell, number) in [("-0", 0.0), (" 1.5", 1.5), ("+3", 3.0), ("1e-400", 0.0), (".5", 0.5), ("5.", 5.0)]
    {
        assert_eq!(decode(cell).unwrap().price, number, "{cell}");
    }
    let small = Payload::record(Record::text(["v".to_owned()].into(), vec!["1e39".to_owned()]));
    assert!(small.decode::<std::collections::HashMap<String, f32>>().is_err(), "beyond 32 bits");
}

#[tokio::test]
async fn numbers_as_people_write_them_in_csv() {
    #[derive(Deserialize)]
    struct Row {
        price: f64,
    }
    let deliveries = read(&CsvConfig::new(case("c12-numbers.csv"))).await;
    let decoded: Vec<_> = deliveries.iter().map(|delivery| delivery.transaction().decode::<Row>()).collect();
    let shown: Vec<_> = decoded.iter().map(|row| row.as_ref().map(|row| row.price).ok()).collect();
    let mut expected = vec![None; 3];
    expected.extend([-0.0, 1.5, 1.0, 1.0, 1.0].map(Some));
    expected.push(None);
    expected.extend([1.0, 1.0, 1.0, 0.0, 0.5, 5.0].map(Some));
    assert_eq!(shown, expected);
    for error in decoded.into_iter().filter_map(Result::err) {
        assert!(error.message().contains("`price`"), "{error}");
    }
}

#[tokio::test]
async fn a_thousand_amounts_leave_as_they_came() {
    #[derive(Deserialize)]
    struct Row {
        v: f64,
    }
    let wanted: Vec<f64> = read(&ExcelConfig::new(case("x30-amounts.xlsx")))
        .await
        .iter()
        .map(|delivery| delivery.transaction().decode::<Row>().unwrap().v)
        .collect();
    assert_eq!(wanted.len(), 1000);
    for (sum, amount) in [(0, 505.107_399_999_999_9), (1, 553.735_700_000_000_1)] {
        assert_eq!(wanted[sum], amount);
    }
    assert_eq!(through_all_connectors(&wanted).await, Vec::<String>::new());
}

/// Returns the numbers that a connector changed, each with the connector.
async fn through_all_connectors(numbers: &[f64]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let rows = || -> Vec<Transaction> {
        (0..)
            .zip(numbers)
            .map(|(id, v)| Transaction::new(format!("{id}"), &json!({"v": v})).unwrap())
            .collect()
    };
    let path = |name: &str| folder.path().join(name);
    let lines = JsonLinesConfig::new(path("a.jsonl"));
    write(&lines, rows()).await.unwrap();
    let csv = CsvConfig::new(path("a.csv"));
    write(&csv, rows()).await.unwrap();
    let excel = ExcelConfig::new(path("a.xlsx"));
    write(&excel, rows()).await.unwrap();
    let name = format!("numbers-{}", folder.path().display());
    let memory = MemoryConfig::new(name);
    write(&memory, rows()).await.unwrap();
    let found = [
        ("json_lines", read(&lines).await),
        ("csv", read(&csv).await),
        ("excel", read(&excel).await),
        ("memory", read(&memory).await),
    ];
    let mut changed = Vec::new();
    for (connector, deliveries) in found {
        assert_eq!(deliveries.len(), numbers.len(), "{connector}");
        for (delivery, number) in deliveries.iter().zip(numbers) {
            let transaction = delivery.transaction();
            let typed = transaction.decode::<std::collections::HashMap<String, f64>>().unwrap()["v"];
            let value = match &transaction.decode::<Value>().unwrap()["v"] {
                Value::String(text) => text.parse().unwrap(),
                value => value.as_f64().unwrap(),
            };
            // In a file, both zeros are one number.
            if typed != *number || value != *number {
                changed.push(format!("{connector}: {number} became {typed} and {value}"));
            }
        }
    }
    changed
}

fn body(json: &str) -> Payload {
    Payload::bytes(ContentType::Json, json.to_owned())
}

#[test]
fn digits_that_a_value_would_lose_are_refused_with_field_and_place() {
    for number in [
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "0.12345678901234567891",
        "12345678.123456789012",
        "0.1000000000000000000001",
        "1234567890123456789e5",
        "0.1000000000000000055511151231257827",
        "100000000000000000.01",
    ] {
        let payload = body(&format!("{{\"id\": \"{number}\",\n \"lines\": [1, {number}, 2]}}"));
        let error = payload.decode::<Value>().unwrap_err();
        assert_eq!(error.field(), Some("lines[1]"), "{number}");
        assert_eq!(error.position().map(|(line, _)| line), Some(2), "{number}");
        assert!(error.to_string().contains(number), "{error}");
    }
}

#[test]
fn digits_that_a_type_can_hold_are_kept() {
    #[derive(Deserialize)]
    struct Big {
        whole: u128,
        negative: i128,
        near: f64,
        raw: Box<RawValue>,
        list: Vec<u128>,
        kind: Kind,
    }
    #[derive(Debug, Deserialize, PartialEq)]
    enum Kind {
        Amount(u128),
    }
    let json = r#"{
        "whole": 340282366920938463463374607431768211455, "negative": -170141183460469231731687303715884105728,
        "near": 0.12345678901234567891, "raw": [18446744073709551616, 1.0], "skipped": 18446744073709551616,
        "list": [18446744073709551616], "kind": {"Amount": 18446744073709551616}, "text": "18446744073709551616"
    }"#;
    let big: Big = body(json).decode().unwrap();
    assert_eq!((big.whole, big.negative), (u128::MAX, i128::MIN));
    assert_eq!((big.near, big.raw.get()), (0.123_456_789_012_345_68, "[18446744073709551616, 1.0]"));
    assert_eq!((big.list, big.kind), (vec![1 << 64], Kind::Amount(1 << 64)));
    assert_eq!(body(json).decode::<String>().unwrap(), json);
    let round = Transaction::new("id", &u128::MAX).unwrap();
    assert_eq!(round.decode::<u128>().unwrap(), u128::MAX);
}

/// A value keeps the numbers that a 64-bit float prints, in each form in which programs print one.
#[test]
fn digits_that_a_float_prints_are_kept() {
    let printed = [
        "0.1",
        "0.30000000000000004",
        "505.10739999999998",
        "0.10000000000000001",
        "1e300",
        "9007199254740992",
        "18446744073709551615",
        "-9223372036854775808",
        "100000000000000000000",
        "1.00000000000000000000",
        "0.000000000000000000001",
        "123456789012345680000.0",
        "-0.0",
        "1E-7",
        "5e-324",
        "4.9406564584124654e-324",
        "0.00000000000000000000000000",
    ];
    let longest = format!("{}.0", f64::MAX);
    for number in printed.into_iter().chain([&*longest]) {
        let value = body(&format!("[{number}]")).decode::<Value>();
        let expected: f64 = number.parse().unwrap();
        assert_eq!(value.unwrap_or_else(|error| panic!("{error}"))[0].as_f64(), Some(expected), "{number}");
    }
}

#[test]
fn a_buffered_field_loses_no_digits_silently() {
    #[derive(Debug, Deserialize)]
    struct Flat {
        #[serde(flatten)]
        rest: std::collections::BTreeMap<String, Value>,
    }
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    enum Either {
        #[expect(dead_code, reason = "only what is refused matters")]
        Number(f64),
        Text(String),
    }
    let json = r#"{"a": 1, "b": 18446744073709551616}"#;
    let error = body(json).decode::<Flat>().unwrap_err();
    assert!(error.to_string().contains("18446744073709551616"), "{error}");
    assert_eq!(body(r#"{"a": 1}"#).decode::<Flat>().unwrap().rest["a"], 1);
    assert!(body("18446744073709551616").decode::<Either>().is_err());
    let text = body("\"18446744073709551616\"").decode::<Either>().unwrap();
    assert!(matches!(text, Either::Text(text) if text == "18446744073709551616"));
}

#[tokio::test]
async fn a_sink_that_needs_values_refuses_digits_that_they_would_lose() {
    let folder = tempfile::tempdir().unwrap();
    let json = r#"{"v":18446744073709551616}"#;
    let transaction = || vec![Transaction::builder().id("t1").payload(body(json)).build()];
    let lines = JsonLinesConfig::new(folder.path().join("a.jsonl"));
    write(&lines, transaction()).await.unwrap();
    assert_eq!(read(&lines).await[0].transaction().payload().to_bytes().unwrap(), json);
    for error in [
        write(&CsvConfig::new(folder.path().join("a.csv")), transaction()).await.unwrap_err(),
        write(&ExcelConfig::new(folder.path().join("a.xlsx")), transaction()).await.unwrap_err(),
    ] {
        assert!(
            error.message().contains("`t1`") && error.message().contains("18446744073709551616"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn metadata_of_an_envelope_loses_no_digits() {
    let folder = tempfile::tempdir().unwrap();
    let config = JsonLinesConfig::new(folder.path().join("a.jsonl")).with_envelope(Envelope::Always);
    let line = r#"{"id": "a", "payload": {"v": 18446744073709551616}, "metadata": {"rate": 0.1000000000000000000001}}"#;
    std::fs::write(&config.path, line).unwrap();
    let delivery = &read(&config).await[0];
    let error = delivery.transaction().decode::<Value>().unwrap_err();
    assert!(error.message().contains("0.1000000000000000000001"), "{error}");
}

/// Generates the text of a number, in any form that JSON allows.
fn any_number() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    prop_oneof![
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(|number| json!(number).to_string()),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(|number| format!("{number:e}")),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(|number| format!("{number:.16e}")),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(|number| format!("{number:.17e}")),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        any::<i128>().prop_map(|number| number.to_string()),
        "-?(0|[1-9][0-9]{0,25})\\.[0-9]{1,25}",
        "-?[1-9]\\.[0-9]{1,20}[eE][+-]?[0-9]{1,2}",
        (0_i64..100_000_000_000, 0_u8..100).prop_map(|(whole, cents)| format!("{whole}.{cents:02}")),
    ]
}

/// Splits a decimal into its sign, its digits without zeros at either end, and its exponent.
fn decimal(text: &str) -> (bool, String, i64) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let negative = whole.starts_with('-');
    let digits = format!("{}{part}", whole.trim_start_matches(['-', '+']));
    let exponent = exponent.parse::<i64>().unwrap() - i64::try_from(part.len()).unwrap();
    let kept = digits.trim_end_matches('0');
    let exponent = exponent + i64::try_from(digits.len() - kept.len()).unwrap();
    let kept = kept.trim_start_matches('0').to_owned();
    if kept.is_empty() { (false, kept, 0) } else { (negative, kept, exponent) }
}

/// Returns whether two numbers are equal, or one is the print of a 64-bit float with as many digits.
fn same(sent: &str, came: &str) -> bool {
    let (sent, came) = (decimal(sent), decimal(came));
    let number = |(negative, digits, exponent): &(bool, String, i64)| -> f64 {
        format!("{}{digits}e{exponent}", if *negative { "-" } else { "" }).parse().unwrap_or(0.0)
    };
    if sent == came {
        return true;
    }
    let printed = format!("{:.*e}", sent.1.len().saturating_sub(1), number(&came));
    sent.1.len() <= 17 && decimal(&printed) == sent
}

proptest::proptest! {
    #[test]
    fn a_number_comes_out_of_a_value_as_it_went_in_or_is_refused(number in any_number()) {
        match body(&format!("{{\"v\":{number}}}")).decode::<Value>() {
            Ok(value) => proptest::prop_assert!(same(&number, &value["v"].to_string()), "{number} became {value}"),
            Err(error) => proptest::prop_assert!(error.field() == Some("v"), "{error}"),
        }
    }
}

proptest::proptest! {
    // Each case writes and reads four files.
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn a_number_leaves_every_connector_as_it_came(numbers in proptest::collection::vec(any_number(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let floats: Vec<f64> =
            numbers.iter().filter_map(|text| text.parse::<f64>().ok()).filter(|number| number.is_finite()).collect();
        let changed = runtime.block_on(through_all_connectors(&floats));
        proptest::prop_assert!(changed.is_empty(), "{changed:?}");
    }
}
