//! Workbooks of people and of other programs that an earlier version read wrongly.

use std::fmt::Write;

use serde_json::{Value, json};

use super::broken::{part, with_part};
use super::*;

fn case(name: &str) -> ExcelConfig {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/cases"));
    ExcelConfig::new(folder.join(name))
}

/// The outcome of each row: its payload, or the reason why it does not decode.
async fn outcomes(config: &ExcelConfig) -> Vec<Result<Value, String>> {
    let deliveries = all(&open(config).await).await;
    let decoded = deliveries.iter().map(|delivery| delivery.transaction().decode::<Value>());
    decoded.map(|row| row.map_err(|error| error.message().to_owned())).collect()
}

/// A workbook whose sheet is this XML between `<sheetData>` and its end.
fn sheet(folder: &Path, rows: &str) -> ExcelConfig {
    let config = column(folder, ["x"]);
    let name = "xl/worksheets/sheet1.xml";
    let whole = part(&config, name);
    let (before, rest) = whole.split_once("<sheetData>").unwrap();
    let (_, after) = rest.split_once("</sheetData>").unwrap();
    with_part(&config, name, format!("{before}<sheetData>{rows}</sheetData>{after}").as_bytes());
    config
}

/// Rows below a header of `id` and `v`, with these cells in the column `v`.
fn values(folder: &Path, cells: &[&str]) -> ExcelConfig {
    let mut rows = r#"<row r="1"><c r="A1" t="inlineStr"><is><t>id</t></is></c><c r="B1" t="inlineStr"><is><t>v</t></is></c></row>"#.to_owned();
    for (row, cell) in (2..).zip(cells) {
        let cell = cell.replacen("<c", &format!("<c r=\"B{row}\""), 1);
        write!(rows, "<row r=\"{row}\"><c r=\"A{row}\"><v>{row}</v></c>{cell}</row>").unwrap();
    }
    sheet(folder, &rows)
}

const WITHOUT: &str =
    "a formula without a stored result (open the workbook in a spreadsheet program and save it)";

#[tokio::test]
async fn a_formula_without_a_result_refuses_its_row() {
    let found = outcomes(&case("x13-formula-no-cache.xlsx")).await;
    let refused = |cell: &str| Err(format!("payload: cell {cell} of sheet `S` holds {WITHOUT}"));
    let good = json!({"id": "d", "quantity": 2, "price": 0.5, "note": null});
    assert_eq!(found, [refused("D2"), refused("B3"), refused("A4"), Ok(good)]);
    let source = open(&case("x13-formula-no-cache.xlsx")).await;
    assert_eq!(source.count().await.unwrap(), 4, "a row of formulas is not blank");
    let kept = all(&source).await[0].transaction().payload().to_bytes().unwrap();
    assert_eq!(kept, r#"{"id":"a","quantity":2,"price":1.5,"note":"=A2&\"!\""}"#);
}

#[tokio::test]
async fn a_formula_is_without_a_result_in_each_way_to_write_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = values(
        folder.path(),
        &[
            "<c><f>1+1</f></c>",
            "<c><f>1+1</f><v/></c>",
            "<c><f>1+1</f><v></v></c>",
            r#"<c t="n"><f>1+1</f></c>"#,
            r#"<c t="s"><f>1+1</f></c>"#,
            r#"<c><f t="shared" si="0"/></c>"#,
            r#"<c><f t="array" ref="B8">SUM(A1)</f></c>"#,
            r#"<c t="str"><f>""</f><v></v></c>"#,
            r#"<c t="str"><f>"a"</f><v>a</v></c>"#,
            r#"<c t="b"><f>TRUE()</f><v>1</v></c>"#,
            "<c><f>1+1</f><v>2</v></c>",
        ],
    );
    let found = outcomes(&config).await;
    for (row, outcome) in found.iter().enumerate().take(7) {
        let cell = format!("cell B{} of", row + 2);
        assert!(
            outcome.as_ref().is_err_and(|why| why.contains(&cell) && why.ends_with(WITHOUT)),
            "{outcome:?}"
        );
    }
    let rest: Vec<_> = found[7..].iter().map(|row| row.as_ref().unwrap()["v"].clone()).collect();
    assert_eq!(rest, [json!(""), json!("a"), json!(true), json!(2)]);
}

#[tokio::test]
async fn an_error_in_a_cell_refuses_its_row_and_the_rest_is_read() {
    let found = outcomes(&case("x19-errors.xlsx")).await;
    let shown: Vec<_> = found.into_iter().map(|row| row.map(|row| row["id"].clone())).collect();
    let refused = |what: &str| Err(format!("payload: cell {what}"));
    let expected = [
        refused("B2 of sheet `S` holds #N/A"),
        refused("B3 of sheet `S` holds #SPILL!"),
        Ok(json!("c")),
        refused("B5 of sheet `S` holds #CALC!"),
        refused("B6 of sheet `S` holds #GETTING_DATA"),
        Ok(json!("f")),
    ];
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn a_cell_that_cannot_be_read_refuses_its_row_alone() {
    let folder = tempfile::tempdir().unwrap();
    let cells = [
        (r#"<c t="e"><v>#BLOCKED!</v></c>"#, "#BLOCKED!"),
        (r#"<c t="e"><v>#FIELD!</v></c>"#, "#FIELD!"),
        (r#"<c t="b"><v>maybe</v></c>"#, "maybe, expected a flag"),
        (r#"<c t="n"><v>twelve</v></c>"#, "twelve, expected a number"),
        (r#"<c t="q"><v>1</v></c>"#, "1, a value of a type that is not known (`q`)"),
        (r#"<c t="s"><v>99</v></c>"#, "99, the number of a text that the workbook does not have"),
        ("<c><v>NaN</v></c>", "NaN, a number that is not finite"),
        ("<c><v>1e400</v></c>", "1e400, a number that is not finite"),
        (
            "<c><v>18446744073709551616</v></c>",
            "18446744073709551616, more digits than a number keeps (store it as text)",
        ),
        (
            "<c><v>0.12345678901234567891</v></c>",
            "0.12345678901234567891, more digits than a number keeps (store it as text)",
        ),
        ("<c><v><![CDATA[5]]></v></c>", "5, which cannot be read"),
    ];
    let with_good =
        cells.iter().flat_map(|(cell, _)| [*cell, "<c><v>9007199254740993</v></c>"]).collect::<Vec<_>>();
    let found = outcomes(&values(folder.path(), &with_good)).await;
    assert_eq!(found.len(), with_good.len());
    for (at, (cell, holds)) in cells.iter().enumerate() {
        let expected = format!("payload: cell B{} of sheet `Sheet1` holds {holds}", 2 * at + 2);
        assert_eq!(found[2 * at].as_ref().unwrap_err(), &expected, "{cell}");
        assert_eq!(found[2 * at + 1].as_ref().unwrap()["v"], 9_007_199_254_740_993_u64);
    }
}

#[tokio::test]
async fn a_cell_after_a_bad_one_is_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    // No cell and no row has a position, so each follows the cell or row before it.
    let text = |text: &str| format!(r#"<c t="inlineStr"><is><t>{text}</t></is></c>"#);
    let header = ["a", "b", "c"].map(text).concat();
    let config = sheet(
        folder.path(),
        &format!(
            r#"<row>{header}</row><row><c t="e"><v>#SPILL!</v></c><c><v>1</v></c><c><v>2</v></c></row>
            <row><c/><c><v>3</v></c><c><v>4</v></c></row>"#
        ),
    );
    let deliveries = all(&open(&config).await).await;
    let kept = deliveries[0].transaction().payload().to_bytes().unwrap();
    assert_eq!(kept, r##"{"a":"#SPILL!","b":1,"c":2}"##);
    assert_eq!(deliveries[1].transaction().decode::<Value>().unwrap(), json!({"a": null, "b": 3, "c": 4}));
}

#[tokio::test]
async fn the_first_sheet_that_is_not_hidden_is_read() {
    assert_eq!(
        outcomes(&case("x15-hidden-first-sheet.xlsx")).await,
        [Ok(json!({"id": "a", "quantity": 2, "price": 1.5}))]
    );
    let named = case("x15-hidden-first-sheet.xlsx").with_sheet("_cache");
    assert_eq!(outcomes(&named).await, [Ok(json!({"k": "internal"}))], "a hidden sheet can be named");
    let folder = tempfile::tempdir().unwrap();
    let config = column(folder.path(), [1]);
    for state in ["hidden", "veryHidden"] {
        let workbook = part(&config, "xl/workbook.xml");
        let hidden = workbook.replacen(
            "<sheet name=\"Sheet1\"",
            &format!("<sheet name=\"Sheet1\" state=\"{state}\""),
            1,
        );
        let copy = ExcelConfig::new(folder.path().join(format!("{state}.xlsx")));
        std::fs::copy(&config.path, &copy.path).unwrap();
        with_part(&copy, "xl/workbook.xml", hidden.as_bytes());
        let error = refused(&copy).await;
        assert!(
            error.message().ends_with("has no sheet of cells that is not hidden; there is `Sheet1`"),
            "{error}"
        );
        assert_eq!(error.hint(), Some("name one of them with `sheet`"));
    }
}

#[tokio::test]
async fn days_count_from_1904_where_the_workbook_says_so() {
    let config = case("x01-date1904.xlsx");
    let found: Vec<_> = outcomes(&config).await.into_iter().map(|row| row.unwrap()["when"].clone()).collect();
    assert_eq!(found, ["2017-01-01", "1904-01-01", "1904-01-01T12:00:00"]);
    let serial = ExcelConfig { date_format: DateFormat::Serial, ..config };
    let deliveries = all(&open(&serial).await).await;
    let first = deliveries[0].transaction();
    assert_eq!(first.decode::<Value>().unwrap()["when"], 41_274);
    assert_eq!(first.metadata().get("date_system"), Some(&json!(1904)));
    let bundled = ExcelConfig { batch_mode: true, ..serial };
    let source = open(&bundled).await;
    let bundle = source.fetch(&FetchRequest::new(1).with_batch_size(9)).await.unwrap().remove(0);
    assert_eq!(bundle.transaction().metadata().get("date_system"), Some(&json!(1904)));
}

#[tokio::test]
async fn serials_of_other_workbooks_count_from_1900() {
    let folder = tempfile::tempdir().unwrap();
    let serial = ExcelConfig { date_format: DateFormat::Serial, ..column(folder.path(), [1]) };
    let deliveries = all(&open(&serial).await).await;
    assert_eq!(deliveries[0].transaction().metadata().get("date_system"), Some(&json!(1900)));
    let iso = ExcelConfig { date_format: DateFormat::Iso, ..serial };
    assert_eq!(all(&open(&iso).await).await[0].transaction().metadata().get("date_system"), None);
}

#[tokio::test]
async fn white_space_around_a_name_counts_for_nothing() {
    assert_eq!(
        outcomes(&case("x16-headers-space.xlsx")).await,
        [Ok(json!({"id": "a", "quantity": 2, "price": 1.5}))]
    );
    let filtered = case("x16-headers-space.xlsx").with_filter("quantity", 2);
    assert_eq!(outcomes(&filtered).await.len(), 1);
    let folder = tempfile::tempdir().unwrap();
    let twice = book(folder.path(), |sheet| {
        sheet.write_row(0, 0, ["id", "v", "id\u{a0}"]).unwrap();
    });
    let error = refused(&twice).await;
    let expected = "has two columns named `id` in sheet `Sheet1`: A1 and C1 (\"id\\u{a0}\")";
    assert!(error.message().ends_with(expected), "{error}");
    let blank = book(folder.path(), |sheet| {
        sheet.write_row(0, 0, ["id", "\u{a0} ", "v"]).unwrap();
    });
    assert!(refused(&blank).await.message().contains("cell B1 of sheet `Sheet1` is blank"));
}

#[tokio::test]
async fn a_title_above_the_header_is_told_with_the_row_to_set() {
    let config = case("x22-title-above.xlsx");
    let error = refused(&config).await;
    let expected = "has 1 cell in row 1 of sheet `S`, expected the names of the columns";
    assert!(error.message().ends_with(expected), "{error}");
    let hint = "set `header_row = 3`, where there are 3 cells; or delete the rows above it";
    assert_eq!(error.hint(), Some(hint));
    assert_eq!(outcomes(&ExcelConfig { header_row: 3, ..config }).await.len(), 2);
}

#[tokio::test]
async fn titles_come_in_many_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let rows = |rows: &[&[&str]]| {
        book(folder.path(), |sheet| {
            for (row, cells) in (0..).zip(rows) {
                for (column, cell) in (0..).zip(*cells) {
                    match cell.parse::<f64>() {
                        Ok(number) => sheet.write(row, column, number).unwrap(),
                        Err(_) if cell.is_empty() => continue,
                        Err(_) => sheet.write(row, column, *cell).unwrap(),
                    };
                }
            }
        })
    };
    let table: [&[&str]; 3] = [&["id", "name", "price"], &["1", "a", "2.5"], &["2", "b"]];
    let titles: [(&[&[&str]], u32); 5] = [
        (&[&["Report"]], 2),
        (&[&["Report"], &["March"], &[]], 4),
        (&[&["", "Report"]], 2),
        (&[&["Report", "", "March"], &[]], 3),
        (&[&["Report", "March"]], 2),
    ];
    for (title, row) in titles {
        let error = refused(&rows(&[title, &table[..]].concat())).await;
        assert!(error.hint().unwrap().starts_with(&format!("set `header_row = {row}`")), "{error:?}");
    }
    // These sheets have no title. A row may have fewer cells than the header, and a note next to one row makes only
    // that row undecodable.
    let below: [&[&[&str]]; 3] = [&table[..2], &[&["1"], &["2"]], &[&["1", "a", "2", "a note"], &["2", "b"]]];
    for rows_below in below {
        let config = rows(&[&table[..1], rows_below].concat());
        assert!(!all(&open(&config).await).await.is_empty());
    }
    let narrow = refused(&rows(&[&["id", "name"], &["1", "a", "2"], &["2", "b", "3"]])).await;
    assert!(narrow.message().contains("has 2 cells in its header (row 1"), "{narrow}");
}

#[tokio::test]
async fn white_space_in_a_cell_is_text_as_in_a_csv_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = book(folder.path(), |sheet| {
        sheet.write_row(0, 0, ["id", "v"]).unwrap();
        sheet.write(1, 0, "a").unwrap().write(1, 1, "  ").unwrap();
        sheet.write(2, 0, " ").unwrap().write(2, 1, " ").unwrap();
        sheet.write(3, 0, "b").unwrap().write(3, 5, "\u{a0}").unwrap();
    });
    let found = outcomes(&config).await;
    let expected =
        [json!({"id": "a", "v": "  "}), json!({"id": " ", "v": " "}), json!({"id": "b", "v": null})];
    assert_eq!(found, expected.map(Ok), "beside the table it is nothing");
}

#[tokio::test]
async fn another_format_under_the_name_of_a_workbook_is_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let config = ExcelConfig::new(folder.path().join("book.xlsx"));
    let archive = |names: &[&str]| {
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for name in names {
            archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        }
        archive.finish().unwrap().into_inner()
    };
    let cases: [(Vec<u8>, &str, &str); 10] = [
        (archive(&["mimetype", "content.xml"]), "is an OpenDocument file (.ods, .odt)", "save it as"),
        (
            archive(&["[Content_Types].xml", "word/document.xml"]),
            "is an Office document, but no workbook",
            "name a file",
        ),
        (
            archive(&["[Content_Types].xml", "_rels/.rels", "xl/workbook.bin"]),
            "is a binary workbook (.xlsb)",
            "save it as",
        ),
        (archive(&["orders.csv"]), "is a zip archive", "unzip"),
        (b"\x1f\x8b\x08\0\0".to_vec(), "is compressed with gzip", "gunzip"),
        (b"id,v\n1,2\n".to_vec(), "is no .xlsx workbook", "CsvConfig"),
        (b"<html><table>".to_vec(), "is a page in HTML", "save it as"),
        (b"<?xml version=\"1.0\"?><Workbook/>".to_vec(), "is XML", "save it as"),
        (b"%PDF-1.7".to_vec(), "is a PDF", "name a file"),
        (b"\xff\xfei\0d\0".to_vec(), "is text in UTF-16", "CsvConfig"),
    ];
    for (content, what, step) in cases {
        std::fs::write(&config.path, content).unwrap();
        let error = refused(&config).await;
        assert!(error.message().contains(what) && error.message().ends_with(".xlsx workbook"), "{error}");
        assert!(error.hint().unwrap().contains(step), "{error:?}");
    }
}
