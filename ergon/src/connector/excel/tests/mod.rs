mod broken;
mod cases;
mod rows;
mod written;

use std::path::Path;

use rust_xlsxwriter::{Workbook, Worksheet};

use super::*;
use crate::connector::{
    Connector, ConnectorConfig, Context, Count, Delivery, Direction, Endpoint, FetchRequest, Sink, Source,
};

/// Saves a workbook of one sheet and returns the config that reads it.
fn book(folder: &Path, fill: impl FnOnce(&mut Worksheet)) -> ExcelConfig {
    let mut book = Workbook::new();
    fill(book.add_worksheet());
    let path = folder.join("book.xlsx");
    book.save(&path).unwrap();
    ExcelConfig::new(path)
}

/// A workbook of columns `id` and `value`, with these values.
fn column<T: rust_xlsxwriter::IntoExcelData>(
    folder: &Path,
    values: impl IntoIterator<Item = T>,
) -> ExcelConfig {
    book(folder, |sheet| {
        sheet.write_row(0, 0, ["id", "value"]).unwrap();
        for (row, value) in (1..).zip(values) {
            sheet.write(row, 0, row).unwrap().write(row, 1, value).unwrap();
        }
    })
}

fn context() -> Context {
    let mut context = Context::new("test", "book");
    context.direction = Direction::Source;
    context
}

async fn open(config: &ExcelConfig) -> Excel {
    let source = config.build(&context()).unwrap();
    source.open().await.unwrap();
    source
}

/// The error of `open`, after a check of its time limit and its form.
async fn refused(config: &ExcelConfig) -> ConnectorError {
    let start = std::time::Instant::now();
    let error = config.build(&context()).unwrap().open().await.unwrap_err();
    assert!(start.elapsed().as_secs() < 2, "{error} after {:?}", start.elapsed());
    assert!(error.is_permanent() && error.hint().is_some(), "{error:?}");
    assert!(error.message().contains(config.path.to_str().unwrap()), "{error}");
    error
}

async fn all(source: &Excel) -> Vec<Delivery> {
    let mut all = Vec::new();
    loop {
        let some = source.fetch(&FetchRequest::new(1000)).await.unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.transaction().id()).collect()
}

#[test]
fn who_reads_the_file_meets_who_writes_it() {
    let connector = |path: &str| ExcelConfig::new(path).build(&Context::new("task", "slot")).unwrap();
    assert_eq!(connector("./out/orders.xlsx").reads_from(), [Endpoint::file("out/orders.xlsx")]);
    assert_eq!(connector("out/orders.xlsx").writes_to(), [Endpoint::file("out/orders.xlsx")]);
}
