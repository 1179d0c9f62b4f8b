//! Compares one table as a CSV file and as a workbook: the same types, the same values, the same errors.

#![allow(clippy::float_cmp, reason = "a number is to be the same to the last bit")]

use std::collections::BTreeMap;
use std::path::Path;

use rust_xlsxwriter::{ExcelDateTime, Format, Workbook};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::csv::CsvConfig;
use super::excel::ExcelConfig;
use super::{Connector, ConnectorConfig, Context, Direction, FetchRequest, Source};
use crate::transaction::Transaction;

/// A cell of the CSV file, and the same cell of a workbook.
#[derive(Clone, Copy)]
enum Cell {
    Blank,
    Text(&'static str),
    Number(f64, &'static str),
    Flag(bool, &'static str),
    Date(&'static str),
}

impl Cell {
    fn in_csv(self) -> &'static str {
        match self {
            Self::Blank => "",
            Self::Text(text) | Self::Number(_, text) | Self::Flag(_, text) | Self::Date(text) => text,
        }
    }
}

use Cell::{Blank, Date, Flag, Number, Text};

const CELLS: [Cell; 30] = [
    Blank,
    Text("a"),
    Text(" a "),
    Text("  "),
    Text("x,\"y\""),
    Text("0042"),
    Text("3"),
    Text(" 3 "),
    Text("+3"),
    Text("-3"),
    Text("2.50"),
    Text("2,5"),
    Text("1e3"),
    Text("NaN"),
    Text("inf"),
    Text("1e400"),
    Text("true"),
    Text("TRUE"),
    Text("yes"),
    Text("18446744073709551616"),
    Number(1001.0, "1001"),
    Number(0.0, "0"),
    Number(-7.0, "-7"),
    Number(2.5, "2.5"),
    Number(300.0, "300"),
    Number(505.107_399_999_999_9, "505.1073999999999"),
    Number(4_294_967_296.0, "4294967296"),
    Flag(true, "TRUE"),
    Flag(false, "false"),
    Date("2016-11-08"),
];

fn csv(path: &Path) -> CsvConfig {
    let mut writer = ::csv::Writer::from_path(path).unwrap();
    writer.write_record(["id", "v"]).unwrap();
    for cell in CELLS {
        writer.write_record(["x", cell.in_csv()]).unwrap();
    }
    writer.flush().unwrap();
    CsvConfig::new(path)
}

fn excel(path: &Path) -> ExcelConfig {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.write_row(0, 0, ["id", "v"]).unwrap();
    let date = Format::new().set_num_format("yyyy-mm-dd");
    for (row, cell) in (1..).zip(CELLS) {
        sheet.write(row, 0, "x").unwrap();
        match cell {
            Blank => continue,
            Text(text) => sheet.write(row, 1, text).unwrap(),
            Number(number, _) => sheet.write(row, 1, number).unwrap(),
            Flag(flag, _) => sheet.write(row, 1, flag).unwrap(),
            Date(text) => {
                let day = ExcelDateTime::parse_from_str(text).unwrap();
                sheet.write_datetime_with_format(row, 1, &day, &date).unwrap()
            }
        };
    }
    book.save(path).unwrap();
    ExcelConfig::new(path)
}

async fn read<C: ConnectorConfig>(config: &C) -> Vec<Transaction>
where
    C::Connector: Source,
{
    let mut context = Context::new("test", "table");
    context.direction = Direction::Source;
    let source = config.build(&context).unwrap();
    source.open().await.unwrap();
    let deliveries = source.fetch(&FetchRequest::new(100)).await.unwrap();
    deliveries.iter().map(|delivery| delivery.transaction().clone()).collect()
}

/// The values of the column decoded as one type, or the errors. For a flag, a `String` has the letters of each
/// source.
fn decoded<T: DeserializeOwned + std::fmt::Debug>(rows: &[Transaction]) -> Vec<Result<String, String>> {
    let read = rows.iter().map(Transaction::decode::<Row<T>>);
    read.map(|row| row.map(|row| format!("{:?}", row.v)).map_err(|error| error.message().to_owned()))
        .collect()
}

#[derive(Debug, Deserialize)]
struct Row<T> {
    v: T,
}

#[derive(Debug, Deserialize)]
struct Wrapped<T>(T);

#[derive(Debug, Deserialize)]
enum Choice {
    #[serde(rename = "a")]
    A,
    #[serde(rename = "1001")]
    Number,
    #[serde(rename = "true", alias = "TRUE")]
    Flag,
}

#[tokio::test]
async fn a_csv_file_and_a_workbook_decode_alike() {
    let folder = tempfile::tempdir().unwrap();
    let csv = read(&csv(&folder.path().join("a.csv"))).await;
    let excel = read(&excel(&folder.path().join("a.xlsx"))).await;
    assert_eq!((csv.len(), excel.len()), (CELLS.len(), CELLS.len()));
    macro_rules! alike {
        ($($type:ty),*) => {$(
            let cells = CELLS.iter().map(|cell| cell.in_csv());
            for ((cell, csv), excel) in cells.zip(decoded::<$type>(&csv)).zip(decoded::<$type>(&excel)) {
                // A workbook has flags, and no letters of them.
                let text = |outcome: Result<String, String>| outcome.map_err(|why| why.replace("TRUE", "true"));
                assert_eq!(text(csv), text(excel), "{cell:?} as {}", stringify!($type));
            }
        )*};
    }
    alike! {
        bool, u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64, char, (), Choice, Vec<u8>,
        BTreeMap<String, u8>, (u8, u8), Option<bool>, Option<u32>, Option<i64>, Option<f64>, Option<char>,
        Option<Choice>, Option<Option<u32>>, Wrapped<u32>, Wrapped<Option<f64>>, Option<Wrapped<i8>>
    }
    let texts = |rows: &[Transaction]| -> Vec<String> {
        rows.iter().map(|row| row.decode::<Row<String>>().unwrap().v.to_lowercase()).collect()
    };
    assert_eq!(texts(&csv), texts(&excel));
    let texts = |rows: &[Transaction]| -> Vec<Option<String>> {
        rows.iter()
            .map(|row| row.decode::<Row<Option<String>>>().unwrap().v.map(|v| v.to_lowercase()))
            .collect()
    };
    assert_eq!(texts(&csv), texts(&excel));
}

#[tokio::test]
async fn a_cell_becomes_what_the_field_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let excel = read(&excel(&folder.path().join("a.xlsx"))).await;
    let row = |wanted: &str| &excel[CELLS.iter().position(|cell| cell.in_csv() == wanted).unwrap()];
    assert_eq!(row("1001").decode::<Row<String>>().unwrap().v, "1001");
    assert_eq!(row("3").decode::<Row<u32>>().unwrap().v, 3);
    assert_eq!(row("2.50").decode::<Row<f64>>().unwrap().v, 2.5);
    assert_eq!(row("2016-11-08").decode::<Row<String>>().unwrap().v, "2016-11-08");
    assert_eq!(row("").decode::<Row<Option<u32>>>().unwrap().v, None);
    assert_eq!(row("").decode::<Row<String>>().unwrap().v, "");
    let error = row("2.5").decode::<Row<u32>>().unwrap_err();
    let expected =
        "payload field `v`: invalid value: string \"2.5\", expected a whole number from 0 to 4294967295";
    assert_eq!(error.message(), expected);
    assert_eq!(
        row("1001").decode::<Row<serde_json::Value>>().unwrap().v,
        1001,
        "asked for anything, it is a number"
    );
}

#[tokio::test]
async fn ids_may_be_numbers_in_one_row_and_text_in_the_next() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Line {
        id: String,
        quantity: u32,
        price: f64,
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/cases/x17-number-id.xlsx");
    let rows = read(&ExcelConfig::new(path)).await;
    let line = |row: usize| rows[row].decode::<Line>();
    assert_eq!(line(0).unwrap(), Line { id: "1001".to_owned(), quantity: 2, price: 1.5 });
    assert_eq!(line(1).unwrap(), Line { id: "0042".to_owned(), quantity: 3, price: 2.5 });
    assert!(line(2).unwrap_err().message().contains("`quantity`"));
}
