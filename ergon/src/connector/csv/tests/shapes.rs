//! A file that does not fit the settings is an error at `open`, and the hint names the remedy.

use super::*;

async fn told(config: &CsvConfig) -> (String, String) {
    let error = refused(config).await;
    let message = error.message().to_owned();
    (
        message.split_once(".csv ").map_or(message.clone(), |(_, told)| told.to_owned()),
        error.hint().unwrap().to_owned(),
    )
}

#[tokio::test]
async fn another_delimiter_is_found_at_open() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/cases/c04-semicolon.csv");
    let (message, hint) = told(&CsvConfig::new(&*case)).await;
    assert_eq!(message, "has 1 cell in line 1 with `delimiter = \",\"`, but 3 with \";\"");
    assert_eq!(hint, "set `delimiter = \";\"`");
    let good = CsvConfig::new(&*case).with_delimiter(';');
    assert_eq!(all(&good).await[0].transaction().decode::<Value>().unwrap()["price"], "1,5");

    let folder = tempfile::tempdir().unwrap();
    for (content, delimiter, hint) in [
        ("a;b\n1;2\n", ',', "\";\""),
        ("a\tb\n1\t2\n", ',', "\"\\t\""),
        ("a|b|c\n1|2|3\n", ',', "\"|\""),
        ("a,b\n1,2\n", ';', "\",\""),
        ("a;b\n", ',', "\";\""),
        ("\"a\";\"b\"\n\"1\n\";\"2\"\n", ',', "\";\""),
    ] {
        let config = with(folder.path(), content).with_delimiter(delimiter);
        assert_eq!(told(&config).await.1, format!("set `delimiter = {hint}`"), "{content:?}");
        let config = CsvConfig { headers: false, ..config };
        assert_eq!(told(&config).await.1, format!("set `delimiter = {hint}`"), "{content:?}");
    }
    // One column, with any content in its cells.
    for content in ["note\na;b\nc\n", "note; long\na\nb;c;d\n", "a b\n1;2\n3;4\n"] {
        assert_eq!(all(&with(folder.path(), content)).await.len(), 2, "{content:?}");
    }
}

#[tokio::test]
async fn a_line_that_names_the_delimiter_is_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    for (first, sign) in
        [("sep=;\r\n", ";"), ("\u{feff}\"sep=|\"\n", "|"), ("SEP=\t\n", "\t"), ("sep=,\n", ",")]
    {
        let config = with(folder.path(), format!("{first}a{sign}b\n1{sign}2\n"));
        let deliveries = all(&config).await;
        assert_eq!(
            deliveries[0].transaction().decode::<Value>().unwrap(),
            json!({"a": "1", "b": "2"}),
            "{first:?}"
        );
        assert_eq!(deliveries[0].transaction().metadata().get("line"), Some(&json!(3)));
        write(&config, [json!({"b": 4, "a": 3})]).await.unwrap();
        assert_eq!(
            all(&config).await[1].transaction().decode::<Value>().unwrap(),
            json!({"a": "3", "b": "4"})
        );
    }
}

#[tokio::test]
async fn a_title_above_the_header_is_found_at_open_and_can_be_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    for (content, row) in [
        ("Orders of May\na,b,c\n1,2,3\n4,5,6\n", 2),
        ("Orders of May\n\na,b,c\n1,2,3\n", 3),
        ("Orders of May\r\nas of today\r\n\r\na,b,c\r\n1,2,3\r\n4,5,6\r\n", 4),
        ("Orders, May\na,b,c\n1,2,3\n4,5,6\n", 2),
        ("# by X, today\n# page 1, 2\na,b,c\n1,2,3\n", 3),
        ("Orders of May,,\na,b,c\n1,2,3\n", 2),
        ("Orders of May,,\n,,\na,b,c\n1,2,3\n", 3),
        (",,\na,b,c\n1,2,3\n", 2),
        ("Orders of May\n2024,2025,2026\n1,2,3\n4,5,6\n", 2),
        ("Orders of May\na,b,c\n", 2),
    ] {
        let config = with(folder.path(), content);
        let (message, hint) = told(&config).await;
        assert!(hint.starts_with(&format!("set `header_row = {row}`")), "{content:?}: {message}; {hint}");
        let config = CsvConfig { header_row: row, ..config };
        let deliveries = all(&config).await;
        if let Some(first) = deliveries.first() {
            assert_eq!(first.transaction().metadata().get("line"), Some(&json!(row + 1)), "{content:?}");
            assert_eq!(first.transaction().id(), "orders.csv:1");
            first.transaction().decode::<Value>().unwrap();
        }
    }
    let config = CsvConfig { header_row: 0, ..with(folder.path(), "a\n") };
    assert!(config.build(&context(Direction::Source)).unwrap_err().hint().is_some());
}

#[tokio::test]
async fn a_header_that_no_record_fits_is_found_at_open() {
    let folder = tempfile::tempdir().unwrap();
    let (message, _) = told(&with(folder.path(), "a,b\n1,2,\n3,4,\n")).await;
    assert_eq!(message, "has 2 cells in its header (line 1), but 3 cells in the 2 records below");
    // If a single record does not fit, only this record does not decode.
    assert_eq!(all(&with(folder.path(), "a,b\n1,2,3\n")).await.len(), 1);
}

#[tokio::test]
async fn names_are_compared_without_white_space_around_them() {
    let folder = tempfile::tempdir().unwrap();
    let deliveries = all(&with(folder.path(), " id ,\u{a0}qty\u{202f},\"price\t\"\n1, 2 ,3\n")).await;
    let value: Value = deliveries[0].transaction().decode().unwrap();
    assert_eq!(value, json!({"id": "1", "qty": " 2 ", "price": "3"}));
    let (message, _) = told(&with(folder.path(), "id, id\n1,2\n")).await;
    assert_eq!(message, "has two columns named `id`: 1 and 2");
    let (message, _) = told(&with(folder.path(), "id,\u{a0} \n1,2\n")).await;
    assert_eq!(message, "has a column without a name: column 2");
}

#[tokio::test]
async fn what_is_no_text_or_no_csv_is_found_at_open() {
    let folder = tempfile::tempdir().unwrap();
    let utf16: Vec<u8> = "id,qty\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [b"\xff\xfe".as_slice(), &utf16].concat();
    for (content, what, step) in [
        (utf16.as_slice(), "is text in UTF-16, expected CSV in UTF-8", "iconv"),
        (&marked, "is text in UTF-16, expected CSV in UTF-8", "CSV UTF-8"),
        (b"\x1f\x8b\x08\0\0", "is compressed with gzip, expected CSV in UTF-8", "gunzip"),
        (
            b"PK\x03\x04..[Content_Types].xml..xl/",
            "is an .xlsx workbook, expected CSV in UTF-8",
            "ExcelConfig",
        ),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is a workbook of the old .xls format", "CSV UTF-8"),
        (b"{\"id\": 1}\n{\"id\": 2}\n", "holds JSON, expected CSV", "JsonLinesConfig"),
        (b"[\n{\"id\": 1}\n]\n", "holds JSON, expected CSV", "JsonLinesConfig"),
        (b"", "has no content, expected a header", "headers = false"),
        (b"\xef\xbb\xbf\r\n\n", "has no content, expected a header", "headers = false"),
    ] {
        let (message, hint) = told(&with(folder.path(), content)).await;
        assert!(message.starts_with(what), "{message}");
        assert!(hint.contains(step), "{hint}");
    }
    let config = CsvConfig { headers: false, ..with(folder.path(), "") };
    assert!(all(&config).await.is_empty());
}
