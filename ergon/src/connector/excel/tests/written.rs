use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::connector::{ItemOutcome, Sink};
use crate::transaction::{Payload, Transaction};

async fn sink(config: &ExcelConfig) -> Excel {
    let mut context = context();
    context.direction = Direction::Sink;
    let sink = config.build(&context).unwrap();
    sink.open().await.unwrap();
    sink
}

fn rows(values: impl IntoIterator<Item = Value>) -> Vec<Transaction> {
    (1..).zip(values).map(|(id, value)| Transaction::new(format!("t{id}"), &value).unwrap()).collect()
}

async fn back(config: &ExcelConfig) -> Vec<Value> {
    all(&open(config).await).await.iter().map(|d| d.transaction().decode().unwrap()).collect()
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn values_come_back_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let config = ExcelConfig::new(folder.path().join("new/out.xlsx")).with_sheet("March");
    let values = [
        json!({"id": 1, "part": -0.5, "flag": true, "day": "2016-11-08", "time": "2016-11-08T10:30:00", "text": "ü"}),
        json!({"text": "=1+1", "id": 9_007_199_254_740_993_u64, "day": "2016-11-8", "flag": null}),
    ];
    let sink = sink(&config).await;
    sink.dispatch(rows(values.clone())).await.unwrap();
    sink.close().await.unwrap();
    let found = back(&config).await;
    assert_eq!(found[0], values[0]);
    let second = json!({
        "id": "9007199254740993", "part": null, "flag": null, "day": "2016-11-8", "time": null, "text": "=1+1",
    });
    assert_eq!(found[1], second);
    let serial = ExcelConfig { date_format: DateFormat::Serial, ..config };
    assert_eq!(back(&serial).await[0]["day"], 42_682, "a date is a date in the workbook, no text");
}

#[tokio::test]
async fn the_workbook_appears_whole_at_close() {
    let folder = tempfile::tempdir().unwrap();
    let config = column(folder.path(), ["old"]);
    let sink = sink(&config).await;
    sink.dispatch(rows([json!({"id": 2})])).await.unwrap();
    assert_eq!(back(&config).await, [json!({"id": 1, "value": "old"})]);
    sink.dispatch(rows([json!({"id": 3})])).await.unwrap();
    sink.close().await.unwrap();
    let ids: Vec<_> = back(&config).await.iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(files(folder.path()), ["book.xlsx"]);
    assert!(sink.dispatch(rows([json!({"id": 3})])).await.is_err());
}

#[tokio::test]
async fn a_crash_loses_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let config = ExcelConfig::new(folder.path().join("out.xlsx"));
    let crashed = sink(&config).await;
    crashed.dispatch(rows([json!({"id": 1}), json!({"id": 2})])).await.unwrap();
    drop(crashed);
    assert_eq!(files(folder.path()), ["out.xlsx.partial"]);
    // The incomplete line of a dispatch that never returned.
    let partial = folder.path().join("out.xlsx.partial");
    let content = std::fs::read_to_string(&partial).unwrap();
    std::fs::write(&partial, content + "[\"hal").unwrap();

    let next = sink(&config).await;
    let error = next.dispatch(rows([json!({"id": 3, "new": 1})])).await.unwrap_err();
    assert!(error.hint().unwrap().contains("out.xlsx.partial"), "{error:?}");
    next.dispatch(rows([json!({"id": 3})])).await.unwrap();
    next.close().await.unwrap();
    assert_eq!(back(&config).await, [json!({"id": 1}), json!({"id": 2}), json!({"id": 3})]);
    assert_eq!(files(folder.path()), ["out.xlsx"]);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = ExcelConfig::new(folder.path().join("out.xlsx"));
    let sink = sink(&config).await;
    let mut values = rows([
        json!({"a": 1}),
        json!({"a": 2, "b": 3}),
        json!({"a": "x".repeat(32_768)}),
        json!({"a": "x".repeat(32_767)}),
    ]);
    values.push(Transaction::builder().id("text").payload(Payload::text("no row")).build());
    let error = sink.dispatch(values).await.unwrap_err();
    let fates: Vec<_> = (0..5).map(|index| error.outcome(index)).collect();
    assert_eq!(
        fates,
        [
            ItemOutcome::Done,
            ItemOutcome::NotDone,
            ItemOutcome::NotDone,
            ItemOutcome::Done,
            ItemOutcome::NotDone
        ]
    );
    assert!(error.message().contains("transaction `t2` has `b`, for which there is no column"), "{error}");
    sink.close().await.unwrap();
    assert_eq!(back(&config).await.len(), 2);
}

#[tokio::test]
async fn a_full_sheet_refuses_more() {
    let folder = tempfile::tempdir().unwrap();
    let config = ExcelConfig { header_row: 1_048_575, ..ExcelConfig::new(folder.path().join("out.xlsx")) };
    let sink = sink(&config).await;
    let error = sink.dispatch(rows([json!({"a": 1}), json!({"a": 2})])).await.unwrap_err();
    assert_eq!((error.outcome(0), error.outcome(1)), (ItemOutcome::Done, ItemOutcome::NotDone));
    assert_eq!(error.message(), "the sheet is full: it has room for 1 rows");
    sink.close().await.unwrap();
    assert_eq!(back(&config).await, [json!({"a": 1})]);
}

#[tokio::test]
async fn a_run_without_rows_makes_no_workbook() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(&ExcelConfig::new(folder.path().join("out.xlsx"))).await;
    sink.close().await.unwrap();
    assert!(files(folder.path()).is_empty());
}

#[tokio::test]
async fn what_cannot_be_written_is_found_at_open() {
    let folder = tempfile::tempdir().unwrap();
    let config = ExcelConfig::new(folder.path().join("out.xlsx"));
    let mut shared = Context { direction: Direction::Sink, ..context() };
    let error = config.clone().with_sheet("a/b").build(&shared).unwrap().open().await.unwrap_err();
    assert_eq!(error.message(), "`sheet = \"a/b\"` cannot name a sheet");
    shared.shard.count = 2;
    let error = config.build(&shared).unwrap().open().await.unwrap_err();
    assert_eq!(error.message(), "2 workers cannot write to one workbook");
}

async fn resuming(config: &ExcelConfig) -> Excel {
    let mut context = context();
    (context.direction, context.is_restart) = (Direction::Sink, true);
    let sink = config.build(&context).unwrap();
    sink.open().await.unwrap();
    sink.start().await.unwrap();
    sink
}

#[tokio::test]
async fn what_goes_on_with_an_output_keeps_the_rows_of_its_workbook() {
    let folder = tempfile::tempdir().unwrap();
    let config = ExcelConfig::new(folder.path().join("out.xlsx"));
    let first = json!({"id": 1, "day": "2016-11-08", "text": "2024-01-01T00:00:00", "part": 0.5});
    for value in [first.clone(), json!({"id": 2}), json!({"id": 3})] {
        let sink = resuming(&config).await;
        sink.dispatch(rows([value])).await.unwrap();
        sink.close().await.unwrap();
    }
    // Without a dispatch the workbook stays as it is.
    resuming(&config).await.close().await.unwrap();
    let found = back(&config).await;
    assert_eq!((found.len(), &found[0], &found[2]["id"]), (3, &first, &json!(3)));
    assert_eq!(files(folder.path()), ["out.xlsx"]);

    let error = resuming(&config).await.dispatch(rows([json!({"other": 1})])).await.unwrap_err();
    assert!(error.hint().unwrap().contains("out.xlsx"), "{error:?}");
}

#[tokio::test]
async fn rows_of_an_unfinished_run_find_their_columns() {
    let folder = tempfile::tempdir().unwrap();
    let config = ExcelConfig::new(folder.path().join("book.xlsx"));
    let crashed = sink(&config).await;
    crashed.dispatch(rows([json!({"value": "a", "id": 1})])).await.unwrap();
    drop(crashed);
    // In the meantime, another program has made the workbook, with the columns in another order.
    column(folder.path(), ["old"]);
    resuming(&config).await.close().await.unwrap();
    let found: Vec<_> = back(&config).await.iter().map(|row| row["value"].clone()).collect();
    assert_eq!(found, ["old", "a"]);
    let crashed = sink(&config).await;
    crashed.dispatch(rows([json!({"value": "b"})])).await.unwrap();
    drop(crashed);
    book(folder.path(), |sheet| drop(sheet.write_string(0, 0, "id")));
    let error =
        config.build(&Context { direction: Direction::Sink, ..context() }).unwrap().open().await.unwrap_err();
    assert!(error.is_permanent() && error.message().contains("has no column `value`"), "{error}");
    assert!(folder.path().join("book.xlsx.partial").exists());
}

#[tokio::test]
async fn a_run_that_never_begins_leaves_the_rows_of_an_unfinished_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = column(folder.path(), ["old"]);
    let crashed = sink(&config).await;
    crashed.dispatch(rows([json!({"id": 1})])).await.unwrap();
    drop(crashed);
    sink(&config).await.close().await.unwrap();
    assert_eq!(back(&config).await, [json!({"id": 1, "value": "old"})]);
    assert_eq!(files(folder.path()), ["book.xlsx", "book.xlsx.partial"]);

    let next = sink(&config).await;
    next.start().await.unwrap();
    next.close().await.unwrap();
    assert_eq!(back(&config).await.len(), 2);
}

#[tokio::test]
async fn one_sink_at_a_time_writes_a_workbook() {
    let folder = tempfile::tempdir().unwrap();
    let config = ExcelConfig::new(folder.path().join("out.xlsx"));
    let first = sink(&config).await;
    first.dispatch(rows([json!({"id": 1})])).await.unwrap();
    let second = config.build(&Context { direction: Direction::Sink, ..context() }).unwrap();
    let error = second.open().await.unwrap_err();
    assert!(error.is_permanent() && error.hint().is_some(), "{error:?}");
    let (message, book) = (error.message(), config.path.display().to_string());
    assert_eq!(message, format!("another sink is writing to {book}: it holds {book}.partial"));
    second.close().await.unwrap();
    first.dispatch(rows([json!({"id": 2})])).await.unwrap();
    first.close().await.unwrap();
    assert_eq!(back(&config).await.len(), 2);
    sink(&config).await.close().await.unwrap();
}

#[tokio::test]
async fn rows_that_a_crash_left_are_not_written_twice() {
    let folder = tempfile::tempdir().unwrap();
    let config = ExcelConfig::new(folder.path().join("out.xlsx"));
    let made = |rows: &[(&str, u32)]| -> Vec<Transaction> {
        rows.iter().map(|(id, n)| Transaction::new(*id, &json!({"n": n})).unwrap()).collect()
    };
    let crashed = sink(&config).await;
    crashed.dispatch(made(&[("a", 1), ("b", 2), ("b", 2), ("", 4)])).await.unwrap();
    drop(crashed);
    let next = sink(&config).await;
    // The row `a` is delivered again, and once more than it existed. Both rows `b` are delivered again. One id has
    // other content, and one row has no id.
    next.dispatch(made(&[("a", 1), ("b", 2), ("b", 2), ("a", 1), ("b", 3), ("", 4), ("c", 5)]))
        .await
        .unwrap();
    next.close().await.unwrap();
    let found: Vec<_> = back(&config).await.iter().map(|row| row["n"].clone()).collect();
    assert_eq!(found, [1, 2, 2, 4, 1, 3, 4, 5]);
}

#[tokio::test]
async fn a_header_that_no_source_would_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = ExcelConfig::new(folder.path().join("out.xlsx"));
    let sink = sink(&config).await;
    for value in [json!({}), json!({"a": 1, "": 2}), json!({" ": 1})] {
        let error = sink.dispatch(rows([value])).await.unwrap_err();
        assert!(error.is_permanent() && error.hint().is_some(), "{error:?}");
    }
    sink.dispatch(rows([json!({"a": 1})])).await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(back(&config).await, [json!({"a": 1})]);
}

#[tokio::test]
async fn a_workbook_that_cannot_be_finished_says_where_its_rows_are() {
    let folder = tempfile::tempdir().unwrap();
    let config = ExcelConfig::new(folder.path().join("out.xlsx"));
    let sink = sink(&config).await;
    sink.dispatch(rows([json!({"id": 1})])).await.unwrap();
    std::fs::create_dir(folder.path().join("out.xlsx")).unwrap();
    std::fs::write(folder.path().join("out.xlsx/full"), "").unwrap();
    let error = sink.close().await.unwrap_err();
    let hint = error.hint().unwrap();
    assert!(hint.contains("out.xlsx.partial") && hint.contains("nothing is lost"), "{hint}");
    assert!(folder.path().join("out.xlsx.partial").exists());
}

#[tokio::test]
async fn a_large_workbook_has_more_time_to_be_finished() {
    let folder = tempfile::tempdir().unwrap();
    let config = ExcelConfig::new(folder.path().join("out.xlsx"));
    let sink = sink(&config).await;
    let small = sink.close_timeout();
    sink.dispatch(rows([json!({"id": "x".repeat(30_000)})])).await.unwrap();
    let more = (0..70).map(|id| json!({"id": format!("{id}{}", "x".repeat(30_000))}));
    sink.dispatch(rows(more)).await.unwrap();
    assert!(sink.close_timeout() >= small + Duration::from_secs(20), "{:?}", sink.close_timeout());
}
