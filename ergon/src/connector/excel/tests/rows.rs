use rust_xlsxwriter::{ExcelDateTime, Format, Formula};
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::connector::{Count, Disposition};

#[derive(Deserialize)]
struct OrderLine {
    #[serde(rename = "Row ID")]
    row: u32,
    #[serde(rename = "Order Date")]
    date: String,
    #[serde(rename = "Postal Code")]
    postal_code: String,
    #[serde(rename = "Quantity")]
    quantity: u32,
    #[serde(rename = "Sales")]
    sales: f64,
    #[serde(rename = "Discount")]
    discount: f64,
}

fn superstore() -> ExcelConfig {
    ExcelConfig::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart/data/superstore.xlsx"))
}

#[tokio::test]
async fn the_superstore_adds_up() {
    let source = open(&superstore()).await;
    assert_eq!(source.count().await.unwrap(), 9994);
    let lines: Vec<OrderLine> =
        all(&source).await.iter().map(|d| d.transaction().decode().unwrap()).collect();
    assert_eq!(lines.len(), 9994);
    assert_eq!(lines.iter().map(|line| line.quantity).sum::<u32>(), 37_873);
    let sales: f64 = lines.iter().map(|line| line.sales).sum();
    assert!((sales - 2_297_200.86).abs() < 0.01, "{sales}");
    assert_eq!(lines.iter().filter(|line| line.discount > 0.5).count(), 856);
    assert_eq!(lines.iter().filter(|line| line.postal_code.len() < 5).count(), 449);
    assert!(lines.iter().all(|line| line.date.len() == 10 && line.row > 0));
    assert_eq!(source.count().await.unwrap(), 0);
}

#[tokio::test]
async fn rows_have_ids_metadata_and_types() {
    let folder = tempfile::tempdir().unwrap();
    let config = book(folder.path(), |sheet| {
        sheet.set_name("March").unwrap();
        sheet.write_row(0, 0, ["whole", "part", "flag", "text", "day", "time", "nothing"]).unwrap();
        sheet.write(1, 0, 7).unwrap().write(1, 1, 0.25).unwrap().write(1, 2, false).unwrap();
        sheet.write(1, 3, "ü = 1").unwrap();
        let (day, time) =
            (Format::new().set_num_format("yyyy-mm-dd"), Format::new().set_num_format("d/m/yy hh:mm"));
        let date = ExcelDateTime::from_ymd(2016, 11, 8).unwrap();
        sheet.write_datetime_with_format(1, 4, &date, &day).unwrap();
        sheet.write_datetime_with_format(1, 5, date.and_hms(10, 30, 0).unwrap(), &time).unwrap();
    });
    let deliveries = all(&open(&config).await).await;
    let row = deliveries[0].transaction();
    assert_eq!((row.id(), row.source(), deliveries.len()), ("March!2", Some("book.xlsx"), 1));
    let metadata = serde_json::to_value(row.metadata()).unwrap();
    assert_eq!(metadata, json!({"row": 2, "sheet": "March", "file": "book.xlsx"}));
    let expected = json!({
        "whole": 7, "part": 0.25, "flag": false, "text": "ü = 1", "day": "2016-11-08",
        "time": "2016-11-08T10:30:00", "nothing": null,
    });
    assert_eq!(row.decode::<Value>().unwrap(), expected);
}

#[tokio::test]
async fn a_cell_with_an_error_breaks_its_row_only() {
    let folder = tempfile::tempdir().unwrap();
    let config = column(
        folder.path(),
        [Formula::new("=1/0").set_result("#DIV/0!"), Formula::new("=2").set_result("2")],
    );
    let deliveries = all(&open(&config).await).await;
    let error = deliveries[0].transaction().decode::<Value>().unwrap_err();
    assert_eq!(error.message(), "payload: cell B2 of sheet `Sheet1` holds #DIV/0!");
    let kept = deliveries[0].transaction().payload().to_bytes().unwrap();
    assert_eq!(kept, r##"{"id":1,"value":"#DIV/0!"}"##);
    assert_eq!(deliveries[1].transaction().decode::<Value>().unwrap()["value"], 2);
}

#[tokio::test]
async fn blank_rows_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let config = book(folder.path(), |sheet| {
        sheet.write(2, 1, "name").unwrap();
        sheet.write(3, 1, "a").unwrap();
        sheet.write_blank(4, 1, &Format::new().set_bold()).unwrap();
        sheet.write(9, 1, "b").unwrap();
    });
    let config = ExcelConfig { header_row: 3, ..config };
    let source = open(&config).await;
    assert_eq!(source.count().await.unwrap(), 2);
    assert_eq!(ids(&all(&source).await), ["Sheet1!4", "Sheet1!10"]);
}

#[tokio::test]
async fn a_header_without_rows_is_the_end_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let source = open(&column(folder.path(), Vec::<u32>::new())).await;
    assert_eq!(source.count().await.unwrap(), 0);
    assert!(all(&source).await.is_empty());
}

#[tokio::test]
async fn the_filter_tells_nought_from_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = book(folder.path(), |sheet| {
        sheet.write_row(0, 0, ["id", "value"]).unwrap();
        for row in 1..=6 {
            sheet.write(row, 0, row).unwrap();
        }
        sheet.write(1, 1, 0).unwrap().write(2, 1, false).unwrap().write(3, 1, "0").unwrap();
        sheet.write(5, 1, 1.5).unwrap().write(6, 1, "x").unwrap();
    });
    let wanted =
        [json!(0), json!(false), json!("0"), json!(""), json!(1.5), json!("x"), json!(0.0), json!(true)];
    let expected = ["Sheet1!2", "Sheet1!3", "Sheet1!4", "Sheet1!5", "Sheet1!6", "Sheet1!7", "Sheet1!2", ""];
    for (value, id) in wanted.into_iter().zip(expected) {
        let source = open(&config.clone().with_filter("value", value.clone())).await;
        let count = source.count().await.unwrap();
        assert_eq!(ids(&all(&source).await).join(" "), id, "{value}");
        assert_eq!(count, u64::from(!id.is_empty()));
    }
    let error = refused(&config.with_filter("valeu", 1)).await;
    assert_eq!(error.hint(), Some("did you mean `value`?"));
}

#[tokio::test]
async fn batch_mode_bundles_rows() {
    let folder = tempfile::tempdir().unwrap();
    let config = ExcelConfig { batch_mode: true, ..column(folder.path(), 0..1000) };
    let source = open(&config).await;
    let request = FetchRequest::new(2).with_batch_size(300);
    let mut bundles = Vec::new();
    while bundles.len() < 4 {
        let some = source.fetch(&request).await.unwrap();
        assert!((1..=2).contains(&some.len()));
        bundles.extend(some);
    }
    assert!(source.fetch(&request).await.unwrap().is_empty());
    assert_eq!(ids(&bundles), ["Sheet1!2-301", "Sheet1!302-601", "Sheet1!602-901", "Sheet1!902-1001"]);
    let sizes: Vec<_> =
        bundles.iter().map(|b| b.transaction().decode::<Vec<Value>>().unwrap().len()).collect();
    assert_eq!(sizes, [300, 300, 300, 100]);
}

#[tokio::test]
async fn each_row_goes_to_one_worker() {
    let folder = tempfile::tempdir().unwrap();
    let config = column(folder.path(), 0..1000);
    let mut seen = Vec::new();
    for index in 0..3 {
        let context = Context { shard: Shard { index, count: 3 }, ..context() };
        let worker = config.build(&context).unwrap();
        let deliveries = all(&worker).await;
        assert!((333..=334).contains(&deliveries.len()));
        seen.extend(
            deliveries.iter().map(|d| d.transaction().decode::<Value>().unwrap()["value"].as_u64().unwrap()),
        );
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn max_rows_leaves_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let config = ExcelConfig { max_rows: Some(2), ..column(folder.path(), 0..5) };
    let source = open(&config).await;
    assert_eq!(source.count().await.unwrap(), 2);
    assert_eq!(ids(&all(&source).await), ["Sheet1!2", "Sheet1!3"]);
}

#[tokio::test]
async fn dates_can_stay_numbers() {
    let config = ExcelConfig { date_format: DateFormat::Serial, max_rows: Some(1), ..superstore() };
    let deliveries = all(&open(&config).await).await;
    assert_eq!(deliveries[0].transaction().decode::<Value>().unwrap()["Order Date"], 42_682);
}

#[tokio::test]
async fn a_row_that_is_given_back_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let source = open(&column(folder.path(), 0..3)).await;
    let first = source.fetch(&FetchRequest::new(1)).await.unwrap().remove(0);
    source.settle(vec![first.settle(Disposition::Requeue)]).await.unwrap();
    assert_eq!(source.count().await.unwrap(), 3);
    let deliveries = all(&source).await;
    assert_eq!(ids(&deliveries), ["Sheet1!2", "Sheet1!3", "Sheet1!4"]);
    assert_eq!(deliveries[0].transaction().deliveries(), 2);
}
