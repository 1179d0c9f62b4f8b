//! A record that breaks the rules of quoting does not decode. No other record is refused, merged or changed by it.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// The outcome of a record: its cells, or the bytes of a record that does not decode.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Cells(Vec<String>),
    Refused(String),
}

async fn outcomes(config: &CsvConfig) -> Vec<Outcome> {
    let outcome = |delivery: &Delivery| match delivery
        .transaction()
        .decode::<serde_json::Map<String, Value>>()
    {
        Ok(cells) => Outcome::Cells(cells.values().map(|cell| cell.as_str().unwrap().to_owned()).collect()),
        Err(_) => {
            let payload = delivery.transaction().payload();
            Outcome::Refused(String::from_utf8(payload.to_bytes().unwrap().to_vec()).unwrap())
        }
    };
    all(config).await.iter().map(outcome).collect()
}

fn cells(cells: &[&str]) -> Outcome {
    Outcome::Cells(cells.iter().map(ToString::to_string).collect())
}

fn damaged(bytes: &str) -> Outcome {
    Outcome::Refused(bytes.to_owned())
}

fn case(name: &str) -> CsvConfig {
    CsvConfig::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/cases").join(name))
}

#[tokio::test]
async fn a_stray_quote_takes_no_other_record_with_it() {
    let config = case("c07-unbalanced-swallow.csv");
    let expected = [
        damaged("1,2,1.5,\"John, Doe"),
        cells(&["2", "1", "2.0", "ok"]),
        cells(&["3", "5", "2.5", "Bob"]),
        cells(&["4", "1", "1.0", "ok"]),
    ];
    assert_eq!(outcomes(&config).await, expected);
    let first = &all(&config).await[0];
    let expected = "payload: record 1 (line 2) has a double quote that is never closed (line 2, column 9), in \
                    c07-unbalanced-swallow.csv";
    assert_eq!(why(first), expected);
    let metadata = serde_json::to_value(first.transaction().metadata()).unwrap();
    assert_eq!((&metadata["error_line"], &metadata["error_column"]), (&json!(2), &json!(9)));
}

#[tokio::test]
async fn a_record_that_breaks_the_rules_is_refused_with_its_bytes_and_the_next_is_read() {
    let folder = tempfile::tempdir().unwrap();
    // A record between valid records, and the flaw with its place.
    let records = [
        ("1,\"John\" Doe,x", "text after a closing quote (line 3, column 9)"),
        ("1,\"he said \\\"hi\\\"\",x", "text after a closing quote (line 3, column 14)"),
        ("1,5\" pipe,x", "a double quote in a cell that does not begin with one (line 3, column 4)"),
        ("1, \"padded\",x", "a double quote in a cell that does not begin with one (line 3, column 4)"),
        ("ü,\"ä\"ö,x", "text after a closing quote (line 3, column 6)"),
        ("1,\"open,x", "a double quote that is never closed (line 3, column 3)"),
        ("1,open\",x", "a double quote in a cell that does not begin with one (line 3, column 7)"),
        ("1,\"a\nb,c,d\ne\" f,x", "text after a closing quote (line 5, column 3)"),
        ("1,\"a\nb\" c,\"d\ne,f,g\nh\"", "text after a closing quote (line 4, column 3)"),
        ("1,\"a\nb\",\"c", "a double quote that is never closed (line 4, column 4)"),
    ];
    for end in ["\n", "\r\n"] {
        for after in [
            "2,\"b\",y\n3,c,z\n",
            "2,b,y\n3,\"c\nd\",z",
            "2,b,y",
            "2,\",b\",y\n3,c,z\n",
            "2,\"\nb\",y\n3,c,z\n",
        ] {
            for (record, expected) in records {
                let content = format!("k,v,w\n0,a,x\n{record}\n{after}").replace('\n', end);
                let config = with(folder.path(), &content);
                let deliveries = all(&config).await;
                let told = why(&deliveries[1]);
                assert_eq!(
                    told,
                    format!("payload: record 2 (line 3) has {expected}, in orders.csv"),
                    "{content:?}"
                );
                let good = with(folder.path(), format!("k,v,w\n0,a,x\n{after}").replace('\n', end));
                let mut expected = outcomes(&good).await;
                expected.insert(1, damaged(&record.replace('\n', end)));
                std::fs::write(&config.path, &content).unwrap();
                assert_eq!(outcomes(&config).await, expected, "{content:?}");
            }
        }
    }
}

#[tokio::test]
async fn each_of_many_damaged_records_is_refused_alone() {
    let folder = tempfile::tempdir().unwrap();
    for record in ["1,\"open", "1,\"a\"b", "1,5\"", "1,\"a\\\"b\""] {
        let config = with(folder.path(), format!("k,v\n{}2,b\n", format!("{record}\n").repeat(100)));
        let mut expected = vec![damaged(record); 100];
        expected.push(cells(&["2", "b"]));
        assert_eq!(outcomes(&config).await, expected);
    }
}

#[tokio::test]
async fn legal_quotes_are_read_whatever_is_within_them() {
    let folder = tempfile::tempdir().unwrap();
    let content = "k,v\n1,\"a\nb,c\n\"\"d\"\", e\"\n\"2,\n3\",\"\n\"\n4,\"\"\n\"\"\"\",\",\"\n5,\"\n6,x\n\"\n7,\"\r\"\n";
    let expected = [
        cells(&["1", "a\nb,c\n\"d\", e"]),
        cells(&["2,\n3", "\n"]),
        cells(&["4", ""]),
        cells(&["\"", ","]),
        cells(&["5", "\n6,x\n"]),
        cells(&["7", "\r"]),
    ];
    assert_eq!(outcomes(&with(folder.path(), content)).await, expected);
}

#[tokio::test]
async fn quotes_are_read_as_the_config_says() {
    let folder = tempfile::tempdir().unwrap();
    let config = with(folder.path(), "k,v\n1,\"John\" Doe\n2,5\" pipe\n3,\"\"\n");
    let lenient = CsvConfig { quote: Quote::Lenient, ..config.clone() };
    let expected = [cells(&["1", "John Doe"]), cells(&["2", "5\" pipe"]), cells(&["3", ""])];
    assert_eq!(outcomes(&lenient).await, expected);
    let none = CsvConfig { quote: Quote::None, ..config.clone() };
    let expected = [cells(&["1", "\"John\" Doe"]), cells(&["2", "5\" pipe"]), cells(&["3", "\"\""])];
    assert_eq!(outcomes(&none).await, expected);

    let config = with(folder.path(), "k,v\n1,\"he said \\\"hi, you\\\"\"\n2,\"C:\\\\new\\x\"\n3,\\\n");
    let escaped = CsvConfig { escape: Some('\\'), ..config };
    let expected = [cells(&["1", "he said \"hi, you\""]), cells(&["2", "C:\\new\\x"]), cells(&["3", "\\"])];
    assert_eq!(outcomes(&escaped).await, expected);

    for (quote, escape) in
        [(Quote::None, '\\'), (Quote::Strict, ','), (Quote::Strict, 'ü'), (Quote::Strict, 'n')]
    {
        let config = CsvConfig { quote, escape: Some(escape), ..escaped.clone() };
        let error = config.build(&context(Direction::Source)).unwrap_err();
        assert!(error.message().contains("escape") && error.hint().is_some(), "{error}");
    }
    let config: CsvConfig = toml::from_str("path = 'a'\nquote = 'lenient'\nescape = '\\'").unwrap();
    assert_eq!((config.quote, config.escape), (Quote::Lenient, Some('\\')));
    assert!(toml::from_str::<CsvConfig>("path = 'a'\nquote = 'loose'").is_err());
}

#[tokio::test]
async fn workers_agree_on_the_records_of_a_damaged_file() {
    let folder = tempfile::tempdir().unwrap();
    let record = |number: u32| match number % 7 {
        0 => format!("{number},\"open"),
        1 => format!("{number},\"two\nlines\""),
        2 => format!("{number},\"a\" b"),
        _ => format!("{number},x"),
    };
    let records: Vec<_> = (0..3000).map(record).collect();
    let config = with(folder.path(), format!("k,v\n{}\n", records.join("\n")));
    let mut found = Vec::new();
    for index in 0..3 {
        let mut context = context(Direction::Source);
        context.shard = Shard { index, count: 3 };
        let worker = config.build(&context).unwrap();
        assert_eq!(worker.count().await.unwrap(), 1000);
        loop {
            let some = worker.fetch(&FetchRequest::new(100)).await.unwrap();
            if some.is_empty() {
                break;
            }
            found.extend(some.iter().map(|delivery| {
                let bytes = delivery.transaction().payload().to_bytes().unwrap();
                let digits: String =
                    bytes.iter().map(|byte| char::from(*byte)).filter(char::is_ascii_digit).collect();
                digits.parse::<usize>().unwrap()
            }));
        }
    }
    found.sort_unstable();
    assert_eq!(found, (0..3000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_record_that_is_too_long_is_refused_alone() {
    let folder = tempfile::tempdir().unwrap();
    for end in ["\n", "\r\n"] {
        let long = "x".repeat(300_000);
        let rest = (0..50_000).map(|number| format!("{number},y")).collect::<Vec<_>>().join(end);
        let content = format!("k,v{end}1,a{end}2,\"open{end}3,{long}{end}4,\"{long}\"{end}{rest}");
        let config = CsvConfig { max_record: ByteSize::new(200_000), ..with(folder.path(), content) };
        let deliveries = all(&config).await;
        assert_eq!(deliveries.len(), 50_004);
        let expected = "payload: record 2 (line 3) has a double quote that is not closed within max_record = 200000 \
                        bytes (line 3, column 3), in orders.csv";
        assert_eq!(why(&deliveries[1]), expected);
        for (index, line) in [(2, 4), (3, 5)] {
            let number = index + 1;
            let expected = format!(
                "payload: record {number} (line {line}) is longer than max_record = 200000 bytes, in orders.csv"
            );
            assert_eq!(why(&deliveries[index]), expected);
        }
        assert_eq!(deliveries[4].transaction().metadata().get("line"), Some(&json!(6)));
        assert_eq!(
            deliveries[50_003].transaction().decode::<Value>().unwrap(),
            json!({"k": "49999", "v": "y"})
        );
    }
    // A record of exactly `max_record` bytes decodes.
    let config = with(folder.path(), "k,v\n1,234567\n1,2345678\n1,234567");
    let config = CsvConfig { max_record: ByteSize::new(8), ..config };
    let good: Vec<_> = all(&config).await.iter().map(|d| d.transaction().decode::<Value>().is_ok()).collect();
    assert_eq!(good, [true, false, true]);
}

/// The file of a correct writer, and the expected outcome of each record.
fn written() -> impl Strategy<Value = (Vec<Vec<String>>, bool, bool)> {
    let cell =
        prop_oneof![3 => "[a-z0-9 ]{0,4}", 2 => "[a-z,\";]{0,6}", 1 => "[a-z]{1,3}\n[a-z]{1,3}\n[a-z]{1,3}"];
    let records = (2_usize..5).prop_flat_map(move |columns| {
        prop::collection::vec(prop::collection::vec(cell.clone(), columns), 3..9)
    });
    (records, any::<bool>(), any::<bool>())
}

fn write_one(record: &[String], always: bool) -> Vec<u8> {
    let style = if always { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
    let mut writer = csv::WriterBuilder::new().quote_style(style).from_writer(Vec::new());
    writer.write_record(record).unwrap();
    let mut bytes = writer.into_inner().unwrap();
    bytes.pop();
    bytes
}

/// The number of cells of a text, if it is one record that keeps the rules of RFC 4180.
fn cells_of(record: &[u8]) -> Option<usize> {
    let (mut quoted, mut begins, mut closed, mut cells) = (false, true, false, 1);
    let mut bytes = record.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if quoted && bytes.peek() == Some(&&b'"') => drop(bytes.next()),
            b'"' if quoted => (quoted, closed) = (false, true),
            _ if quoted => {}
            b'"' if begins => (quoted, begins) = (true, false),
            b',' => (begins, closed, cells) = (true, false, cells + 1),
            b'"' | b'\n' | b'\r' => return None,
            _ if closed => return None,
            _ => begins = false,
        }
    }
    (!quoted).then_some(cells)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn one_damaged_record_changes_no_other(
        (records, always, crlf) in written(),
        at in any::<Index>(),
        place in any::<Index>(),
        defect in prop::sample::select(vec!["\"", "x", "\\\"", ""]),
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let columns = records[0].len();
        let mut lines: Vec<Vec<u8>> = records.iter().map(|record| write_one(record, always)).collect();
        let damaged_at = at.index(lines.len());
        let line = &mut lines[damaged_at];
        let quotes: Vec<usize> = (0..line.len()).filter(|place| line[*place] == b'"').collect();
        match defect {
            // Removes a quote, or inserts text at any place.
            "" => {
                prop_assume!(!quotes.is_empty());
                line.remove(*place.get(&quotes));
            }
            more => {
                let place = place.index(line.len() + 1);
                line.splice(place..place, more.bytes());
            }
        }
        prop_assume!(cells_of(line).is_none());
        // Lines that are a complete record by themselves may be read as a record, because no reader can know.
        let mut ends = (0..line.len()).filter(|place| line[*place] == b'\n');
        prop_assume!(ends.all(|end| cells_of(&line[end + 1..]) != Some(columns) && cells_of(&line[..end]) != Some(columns)));
        let line = String::from_utf8(line.clone()).unwrap();
        let names: Vec<_> = (1..=columns).map(|column| format!("c{column}")).collect();
        let mut content = names.join(",") + end;
        for line in &lines {
            content += &String::from_utf8(line.clone()).unwrap();
            content += end;
        }
        let folder = tempfile::tempdir().unwrap();
        let config = with(folder.path(), &content);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(outcomes(&config));
        let whole: Vec<_> = records.into_iter().map(Outcome::Cells).collect();
        let after = whole.len() - damaged_at - 1;
        prop_assert!(found.len() > damaged_at + after, "{content:?}: {found:?}");
        prop_assert_eq!(&found[..damaged_at], &whole[..damaged_at], "{:?}", content);
        prop_assert_eq!(&found[found.len() - after..], &whole[damaged_at + 1..], "{:?}", content);
        // A defect that closes a cell of several lines early leaves lines that are not records. None of them decodes.
        let refused = &found[damaged_at..found.len() - after];
        prop_assert!(refused.iter().all(|outcome| matches!(outcome, Outcome::Refused(_))), "{content:?}: {found:?}");
        if refused.len() == 1 {
            prop_assert_eq!(&refused[0], &damaged(&line), "{:?}", content);
        }
    }
}
