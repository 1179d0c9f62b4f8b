mod quoting;
mod shapes;

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::connector::{
    Connector, ConnectorConfig, Context, Count, Delivery, Direction, Endpoint, FetchRequest, ItemOutcome,
    Sink, Source,
};
use crate::settings::ByteSize;
use crate::transaction::{Payload, Transaction};

fn context(direction: Direction) -> Context {
    let mut context = Context::new("test", "records");
    context.direction = direction;
    context
}

fn with(folder: &Path, content: impl AsRef<[u8]>) -> CsvConfig {
    let path = folder.join("orders.csv");
    std::fs::write(&path, content).unwrap();
    CsvConfig::new(path)
}

async fn open(config: &CsvConfig, direction: Direction) -> Csv {
    let connector = config.build(&context(direction)).unwrap();
    connector.open().await.unwrap();
    connector
}

async fn refused(config: &CsvConfig) -> ConnectorError {
    let error = config.build(&context(Direction::Source)).unwrap().open().await.unwrap_err();
    assert!(error.is_permanent() && error.hint().is_some(), "{error:?}");
    error
}

async fn all(config: &CsvConfig) -> Vec<Delivery> {
    let source = open(config, Direction::Source).await;
    let count = source.count().await.unwrap();
    let mut all = Vec::new();
    loop {
        let some = source.fetch(&FetchRequest::new(100)).await.unwrap();
        if some.is_empty() {
            assert_eq!(all.len() as u64, count);
            return all;
        }
        all.extend(some);
    }
}

async fn write(config: &CsvConfig, values: impl IntoIterator<Item = Value>) -> Result<(), ConnectorError> {
    let sink = open(config, Direction::Sink).await;
    let transactions =
        (1..).zip(values).map(|(id, value)| Transaction::new(format!("t{id}"), &value).unwrap());
    sink.dispatch(transactions.collect()).await?;
    sink.close().await
}

fn read(config: &CsvConfig) -> String {
    std::fs::read_to_string(&config.path).unwrap()
}

fn why(delivery: &Delivery) -> String {
    delivery.transaction().decode::<Value>().unwrap_err().message().to_owned()
}

#[derive(Debug, Deserialize, PartialEq)]
struct Order {
    sku: String,
    quantity: u32,
    price: f64,
    paid: bool,
    note: Option<String>,
}

#[tokio::test]
async fn cells_become_what_the_fields_ask_for() {
    let folder = tempfile::tempdir().unwrap();
    let content =
        "\u{feff}sku;quantity;price;paid;note\r\n007;2;1.5;true;\r\n\r\n\"A;\"\"1\n\";3;2;false;ü\r\n";
    let deliveries = all(&with(folder.path(), content).with_delimiter(';')).await;
    let orders: Vec<Order> = deliveries.iter().map(|d| d.transaction().decode().unwrap()).collect();
    let first = Order { sku: "007".into(), quantity: 2, price: 1.5, paid: true, note: None };
    let second =
        Order { sku: "A;\"1\n".into(), quantity: 3, price: 2.0, paid: false, note: Some("ü".into()) };
    assert_eq!(orders, [first, second]);
    assert_eq!(deliveries[1].transaction().id(), "orders.csv:2");
    let metadata = serde_json::to_value(deliveries[1].transaction().metadata()).unwrap();
    assert_eq!(metadata, json!({"file": "orders.csv", "record": 2, "line": 4}));
}

#[tokio::test]
async fn a_record_that_does_not_fit_is_a_delivery_that_does_not_decode() {
    let folder = tempfile::tempdir().unwrap();
    let deliveries = all(&with(folder.path(), b"a,b\n1,2\n3\n4,5,6\n7,\xff\n8,9\n")).await;
    assert_eq!(deliveries.len(), 5);
    assert_eq!(why(&deliveries[1]), "payload: record 2 (line 3) has 1 cells, expected 2, in orders.csv");
    assert_eq!(why(&deliveries[2]), "payload: record 3 (line 4) has 3 cells, expected 2, in orders.csv");
    let kept = deliveries[2].transaction().payload().to_bytes().unwrap();
    assert_eq!(kept, r#"{"a":"4","b":"5","column_3":"6"}"#);
    let expected = "payload: record 4 (line 5) is not UTF-8 in column `b`, from byte 0 of it, in orders.csv";
    assert_eq!(why(&deliveries[3]), expected);
    assert_eq!(deliveries[4].transaction().decode::<Value>().unwrap(), json!({"a": "8", "b": "9"}));
}

#[tokio::test]
async fn what_is_no_text_keeps_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for end in [b"\n".as_slice(), b"\r\n"] {
        for last in [b"".as_slice(), end] {
            let lines = [b"a,b".as_slice(), b"1,\xff", b"", b"\"\xfe\n\",2", b"3,4"];
            let deliveries = all(&with(folder.path(), [lines.join(end).as_slice(), last].concat())).await;
            let payload = |index: usize| deliveries[index].transaction().payload();
            assert_eq!(payload(0).to_bytes().unwrap(), b"1,\xff".as_slice());
            assert_eq!(payload(1).to_bytes().unwrap(), b"\"\xfe\n\",2".as_slice());
            assert_eq!(payload(0).content_type().as_str(), "text/csv");
            assert_eq!(payload(2).decode::<Value>().unwrap(), json!({"a": "3", "b": "4"}));
        }
    }
    // Without a header, the first record is read at the start, to count the columns.
    let config = CsvConfig { headers: false, ..with(folder.path(), b"\n1,\xff\n2,3\n") };
    assert_eq!(all(&config).await[0].transaction().payload().to_bytes().unwrap(), b"1,\xff".as_slice());
}

#[tokio::test]
async fn bytes_of_a_long_file_are_those_of_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut content = b"a,b\n".to_vec();
    for number in 0..5000 {
        content.extend(format!("{number},").bytes().chain([0xff, b'\n']));
    }
    let deliveries = all(&with(folder.path(), content)).await;
    for (number, delivery) in deliveries.iter().enumerate() {
        let expected: Vec<u8> = format!("{number},").bytes().chain([0xff]).collect();
        assert_eq!(delivery.transaction().payload().to_bytes().unwrap(), expected);
    }
}

#[tokio::test]
async fn a_quote_that_is_a_letter_or_closed_ends_a_file_well() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("5\" nail", "5\" nail"),
        ("a\"\"\"b", "a\"\"\"b"),
        ("\"x\"", "x"),
        ("\"x\ny\"\"\"", "x\ny\""),
        ("x\"", "x\""),
    ];
    for (cell, read) in cases {
        for end in ["", "\n", "\r\n", "\n\n"] {
            let config = with(folder.path(), format!("id,name\n1,{cell}{end}"));
            let deliveries = all(&CsvConfig { quote: Quote::Lenient, ..config }).await;
            let value: Value = deliveries[0].transaction().decode().unwrap();
            assert_eq!((deliveries.len(), value), (1, json!({"id": "1", "name": read})), "{cell:?} {end:?}");
        }
    }
}

#[tokio::test]
async fn the_line_of_a_record_is_the_one_an_editor_shows() {
    let folder = tempfile::tempdir().unwrap();
    for end in ["\n", "\r\n"] {
        for last in ["", end] {
            let content = ["a", "1", "", "\"x", "y\"", "3", "", "", "4"].join(end) + last;
            let deliveries = all(&with(folder.path(), content)).await;
            let lines: Vec<_> = deliveries
                .iter()
                .map(|d| d.transaction().metadata().get("line").unwrap().as_u64().unwrap())
                .collect();
            assert_eq!(lines, [2, 4, 6, 9], "{end:?} {last:?}");
        }
    }
}

#[tokio::test]
async fn columns_without_headers_are_numbered() {
    let folder = tempfile::tempdir().unwrap();
    let config = CsvConfig { headers: false, ..with(folder.path(), "a,b\n1,2") };
    let values: Vec<Value> = all(&config).await.iter().map(|d| d.transaction().decode().unwrap()).collect();
    assert_eq!(
        values,
        [json!({"column_1": "a", "column_2": "b"}), json!({"column_1": "1", "column_2": "2"})]
    );
}

#[tokio::test]
async fn a_file_without_records_is_the_end_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for content in ["a,b\n", "a,b", "\u{feff}a,b\r\n\r\n"] {
        assert!(all(&with(folder.path(), content)).await.is_empty(), "{content:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_header_is_found_at_open() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(&with(folder.path(), "a,,c\n1,2,3")).await;
    assert!(error.message().ends_with("orders.csv has a column without a name: column 2"), "{error}");
    let error = refused(&with(folder.path(), "a,b,a\n1,2,3")).await;
    assert!(error.message().ends_with("orders.csv has two columns named `a`: 1 and 3"), "{error}");
    let config = CsvConfig::new(folder.path().join("order.csv"));
    assert_eq!(refused(&config).await.hint(), Some("did you mean `orders.csv`?"));
}

#[test]
fn a_delimiter_is_one_character() {
    for delimiter in ['ü', '"', '\n'] {
        let error =
            CsvConfig::new("a").with_delimiter(delimiter).build(&context(Direction::Any)).unwrap_err();
        assert!(error.message().contains("cannot separate cells"), "{error}");
    }
    assert!(serde_json::from_str::<CsvConfig>(r#"{"path": "a", "delimiter": ";;"}"#).is_err());
}

#[tokio::test]
async fn the_first_transaction_makes_the_header() {
    let folder = tempfile::tempdir().unwrap();
    let config = CsvConfig::new(folder.path().join("new/out.csv"));
    let values =
        [json!({"id": 1, "name": "a,\"b\"\nc"}), json!({"name": null, "id": -2.5}), json!({"id": [1, true]})];
    write(&config, values).await.unwrap();
    assert_eq!(read(&config), "id,name\n1,\"a,\"\"b\"\"\nc\"\n-2.5,\n\"[1,true]\",\n");
    assert_eq!(all(&config).await[0].transaction().decode::<Value>().unwrap()["name"], "a,\"b\"\nc");

    write(&config, [json!({"name": "later", "id": 4})]).await.unwrap();
    assert!(read(&config).ends_with("\n4,later\n"), "the header of the file decides: {}", read(&config));
}

#[tokio::test]
async fn a_key_without_a_column_is_refused_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = CsvConfig::new(folder.path().join("out.csv"));
    let error = write(&config, [json!({"a": 1}), json!({"a": 2, "b": 3}), json!([4]), json!({"a": 5})])
        .await
        .unwrap_err();
    let fates: Vec<_> = (0..4).map(|index| error.outcome(index)).collect();
    assert_eq!(fates, [ItemOutcome::Done, ItemOutcome::NotDone, ItemOutcome::NotDone, ItemOutcome::Done]);
    assert!(error.message().contains("transaction `t2` has `b`, for which there is no column"), "{error}");
    assert_eq!(read(&config), "a\n1\n5\n");
}

#[tokio::test]
async fn no_text_becomes_a_formula() {
    let folder = tempfile::tempdir().unwrap();
    let texts = ["=1+1", "+a", "-a", "@x", "\tx", "\rx", "a=1", "-5", "+4.5"];
    let values = || texts.map(|text| json!({"text": text, "number": -1}));
    let config = CsvConfig::new(folder.path().join("out.csv"));
    write(&config, values()).await.unwrap();
    let expected = "text,number\n\"'=1+1\",\"-1\"\n\"'+a\",\"-1\"\n\"'-a\",\"-1\"\n\"'@x\",\"-1\"\n\"'\tx\",\"-1\"\n\
                    \"'\rx\",\"-1\"\na=1,-1\n-5,-1\n+4.5,-1\n";
    assert_eq!(read(&config), expected);

    let raw = CsvConfig { raw: true, append: false, ..config };
    write(&raw, values()).await.unwrap();
    let back: Vec<_> =
        all(&raw).await.iter().map(|d| d.transaction().decode::<Value>().unwrap()["text"].clone()).collect();
    assert_eq!(back, texts);
}

#[tokio::test]
async fn after_half_a_record_comes_a_fresh_one() {
    let folder = tempfile::tempdir().unwrap();
    // The content of the file, its complete part, and the bytes in `.torn`.
    let cases = [
        ("a,b\n1,2\n3", "a,b\n1,2\n", "3\n"),
        ("a,b\r\n1,2\r\n3", "a,b\r\n1,2\r\n", "3\n"),
        ("a,b\n1,\"x\ny", "a,b\n", "1,\"x\ny\n"),
        ("a,b\n1,5\" pipe\n2,\"a,b", "a,b\n1,5\" pipe\n", "2,\"a,b\n"),
        ("a,b\n1,2\n3,4", "a,b\n1,2\n3,4\n", ""),
        ("a,b\n1,5\" pipe", "a,b\n1,5\" pipe\n", ""),
        ("a,b\n1,\"x\ny\"", "a,b\n1,\"x\ny\"\n", ""),
        ("a,b\n1,2,3", "a,b\n1,2,3\n", ""),
        ("a,b", "a,b\n", ""),
    ];
    for (torn, whole, aside) in cases {
        let config = with(folder.path(), torn);
        write(&config, [json!({"a": 8, "b": 9})]).await.unwrap();
        assert_eq!(read(&config), format!("{whole}8,9\n"), "{torn:?}");
        let kept = folder.path().join("orders.csv.torn");
        assert_eq!(std::fs::read_to_string(&kept).unwrap_or_default(), aside, "{torn:?}");
        let _ = std::fs::remove_file(kept);
    }
}

#[tokio::test]
async fn a_quote_that_was_left_open_far_above_is_not_taken_for_half_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let torn = format!("a,b\n1,\"x\n{}3,4", "1,2\n".repeat(100));
    let config = CsvConfig { max_record: ByteSize::new(100), ..with(folder.path(), &torn) };
    let error = write(&config, [json!({"a": 8, "b": 9})]).await.unwrap_err();
    assert!(error.message().contains("orders.csv"), "{error}");
    assert_eq!(read(&config), torn);
}

#[tokio::test]
async fn a_header_that_no_source_would_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = CsvConfig::new(folder.path().join("out.csv"));
    let sink = open(&config, Direction::Sink).await;
    for value in [json!({}), json!({"a": 1, "": 2}), json!({" ": 1})] {
        let error = sink.dispatch(vec![Transaction::new("t", &value).unwrap()]).await.unwrap_err();
        assert!(error.is_permanent() && error.hint().is_some(), "{error:?}");
    }
    sink.dispatch(vec![Transaction::new("t", &json!({"a": 1})).unwrap()]).await.unwrap();
    assert_eq!(read(&config), "a\n1\n");
}

#[tokio::test]
async fn no_name_becomes_a_formula() {
    let folder = tempfile::tempdir().unwrap();
    let config = CsvConfig::new(folder.path().join("out.csv"));
    let value = || json!({"=cmd|' /C calc'!A1": 1, "-5": 2, "name": 3});
    for _ in 0..2 {
        write(&config, [value()]).await.unwrap();
    }
    assert_eq!(read(&config), "\"'=cmd|' /C calc'!A1\",\"-5\",\"name\"\n1,2,3\n1,2,3\n");
    let raw = CsvConfig { raw: true, append: false, ..config };
    write(&raw, [value()]).await.unwrap();
    assert!(read(&raw).starts_with("=cmd|' /C calc'!A1,-5,"), "{}", read(&raw));
}

#[tokio::test]
async fn a_quote_that_is_never_closed_in_the_header_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let config = with(folder.path(), "\n\"id,name\n1,a\n2,b\n");
    let error = refused(&config).await;
    let told = "orders.csv has a double quote that is never closed in its header (line 2, column 1)";
    assert!(error.message().ends_with(told), "{error}");
    let before = read(&config);
    assert!(write(&config, [json!({"id": 1})]).await.is_err());
    assert_eq!(read(&config), before);
}

#[tokio::test]
async fn a_record_that_is_torn_within_its_quotes_behind_a_line_end_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let torn = "a,b\n1,2\n3,\"x\n";
    let config = with(folder.path(), torn);
    let error = write(&config, [json!({"a": 8, "b": 9})]).await.unwrap_err();
    assert!(error.message().contains("orders.csv"), "{error}");
    assert_eq!(read(&config), torn, "what follows would belong to it");
    // A quote within an unquoted cell opens no quoted part.
    let config = with(folder.path(), "a,b\n1,5\" pipe\n");
    write(&config, [json!({"a": 8, "b": 9})]).await.unwrap();
    assert!(read(&config).ends_with("\n8,9\n"));
    // Another worker leaves an incomplete record during the run.
    let config = with(folder.path(), "a,b\n");
    let sink = open(&config, Direction::Sink).await;
    sink.dispatch(vec![Transaction::new("t", &json!({"a": 1, "b": 2})).unwrap()]).await.unwrap();
    let mut other = std::fs::File::options().append(true).open(&config.path).unwrap();
    std::io::Write::write_all(&mut other, b"3,\"x\n").unwrap();
    assert!(sink.dispatch(vec![Transaction::new("t", &json!({"a": 5, "b": 6})).unwrap()]).await.is_err());
    assert_eq!(read(&config), "a,b\n1,2\n3,\"x\n");
}

#[tokio::test]
async fn records_pass_from_file_to_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = with(folder.path(), "sku,note\nA-1,ü\nA-2,\"x, y\"\n");
    let sink = open(&CsvConfig::new(folder.path().join("out.csv")), Direction::Sink).await;
    let forwarded = all(&config).await.iter().map(|d| d.transaction().forward()).collect();
    sink.dispatch(forwarded).await.unwrap();
    sink.dispatch(vec![Transaction::builder().payload(Payload::text("no record")).build()])
        .await
        .unwrap_err();
    assert_eq!(std::fs::read_to_string(folder.path().join("out.csv")).unwrap(), read(&config));
}

#[test]
fn who_reads_the_file_meets_who_writes_it() {
    let connector = |path: &str| CsvConfig::new(path).build(&Context::new("task", "slot")).unwrap();
    assert_eq!(connector("./out/orders.csv").reads_from(), [Endpoint::file("out/orders.csv")]);
    assert_eq!(connector("out/orders.csv").writes_to(), [Endpoint::file("out/orders.csv")]);
}

#[cfg(unix)]
#[tokio::test]
async fn what_can_be_read_only_once_is_not_shared() {
    let mut context = context(Direction::Source);
    context.shard.count = 2;
    let source = CsvConfig::new("/dev/null").build(&context).unwrap();
    let error = source.open().await.unwrap_err();
    assert!(error.is_permanent(), "{error}");
    assert_eq!(error.message(), "/dev/null is no regular file and cannot be shared by several workers");
}
