//! Tests a workbook as the output of several runs: no run loses the content of the workbook.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ergon::connector::{Connector, ConnectorConfig, Context, Direction, FetchRequest, Sink, Source};
use ergon::prelude::*;
use rust_xlsxwriter::{Format, Formula, Workbook};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::sinks::{one, sink, try_sink};

fn workbook(path: &Path, append: bool) -> ExcelConfig {
    serde_json::from_value(json!({"path": path, "append": append})).unwrap()
}

async fn numbers(path: &Path) -> Vec<Value> {
    let mut context = Context::new("task", "input");
    context.direction = Direction::Source;
    let source = ExcelConfig::new(path).build(&context).unwrap();
    source.open().await.unwrap();
    let rows = source.fetch(&FetchRequest::new(1000)).await.unwrap();
    rows.iter().map(|row| row.transaction().decode::<Value>().unwrap()["n"].clone()).collect()
}

async fn run(config: &ExcelConfig, n: i32) {
    let here = sink(config).await;
    here.dispatch(one(n)).await.unwrap();
    here.close().await.unwrap();
}

#[tokio::test]
async fn each_run_adds_its_rows_to_the_workbook() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.xlsx");
    for n in 1..4 {
        run(&ExcelConfig::new(&*path), n).await;
    }
    assert_eq!(numbers(&path).await, [1, 2, 3]);
    // A run without rows leaves the workbook unchanged.
    let before = fs::read(&path).unwrap();
    sink(&ExcelConfig::new(&*path)).await.close().await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_workbook_is_replaced_by_name_only() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.xlsx");
    run(&workbook(&path, true), 1).await;
    run(&workbook(&path, false), 2).await;
    assert_eq!(numbers(&path).await, [2]);
}

#[tokio::test]
async fn a_write_protected_workbook_is_found_at_the_start_and_not_replaced() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.xlsx");
    run(&ExcelConfig::new(&*path), 1).await;
    let before = fs::read(&path).unwrap();
    // The file is protected when the run starts, and while it runs.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    for append in [true, false] {
        let mut context = Context::new("task", "output");
        context.direction = Direction::Sink;
        let here = workbook(&path, append).build(&context).unwrap();
        for error in [here.check().await.err(), here.open().await.err()] {
            let error = error.expect("it is refused");
            assert!(error.is_permanent() && error.hint().is_some(), "{error:?}");
            assert!(error.message().contains("write-protected"), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let here = sink(&workbook(&path, append)).await;
        here.dispatch(one(2)).await.unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        let error = here.close().await.unwrap_err();
        assert!(error.hint().unwrap().contains("nothing is lost"), "{error:?}");
        assert_eq!(fs::read(&path).unwrap(), before);
        fs::remove_file(folder.path().join("out.xlsx.partial")).unwrap();
    }
}

/// Makes a workbook as a person does. `more` adds parts that only a person adds.
fn by_hand(path: &Path, more: impl FnOnce(&mut Workbook)) {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.write_string(0, 0, "n").unwrap();
    sheet.write_number(1, 0, 1).unwrap();
    more(&mut book);
    book.save(path).unwrap();
}

#[tokio::test]
async fn what_a_person_put_into_a_workbook_is_kept_or_the_run_does_not_begin() {
    type More = fn(&mut Workbook);
    let mores: [(&str, More); 12] = [
        ("other sheets", |book| {
            let _ = book.add_worksheet().write_string(0, 0, "x").unwrap();
        }),
        ("formula", |book| {
            let sheet = book.worksheet_from_index(0).unwrap();
            sheet.write_formula(2, 0, Formula::new("=A2*2").set_result("2")).unwrap();
        }),
        ("the format of cell A1", |book| {
            let sheet = book.worksheet_from_index(0).unwrap();
            sheet.write_string_with_format(0, 0, "n", &Format::new().set_bold()).unwrap();
        }),
        ("the format of cell A2", |book| {
            let sheet = book.worksheet_from_index(0).unwrap();
            sheet.write_number_with_format(1, 0, 1, &Format::new().set_num_format("0.00 €")).unwrap();
        }),
        ("the format of cell D2", |book| {
            let sheet = book.worksheet_from_index(0).unwrap();
            sheet.write_blank(1, 3, &Format::new().set_background_color("#FF0000")).unwrap();
        }),
        ("cols", |book| {
            let _ = book.worksheet_from_index(0).unwrap().set_column_width(0, 40).unwrap();
        }),
        ("row", |book| {
            let _ = book.worksheet_from_index(0).unwrap().set_row_height(0, 40).unwrap();
        }),
        ("pane", |book| {
            let _ = book.worksheet_from_index(0).unwrap().set_freeze_panes(1, 0).unwrap();
        }),
        ("autoFilter", |book| {
            let _ = book.worksheet_from_index(0).unwrap().autofilter(0, 0, 1, 0).unwrap();
        }),
        ("mergeCells", |book| {
            let sheet = book.worksheet_from_index(0).unwrap();
            sheet.merge_range(4, 0, 4, 2, "", &Format::new()).unwrap();
        }),
        ("xl/comments1.xml", |book| {
            let sheet = book.worksheet_from_index(0).unwrap();
            sheet.insert_note(0, 0, &rust_xlsxwriter::Note::new("look")).unwrap();
        }),
        ("definedNames", |book| {
            let _ = book.define_name("Rate", "=0.19").unwrap();
        }),
    ];
    for (what, more) in mores {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("out.xlsx");
        by_hand(&path, more);
        let before = fs::read(&path).unwrap();
        let error = try_sink(&ExcelConfig::new(&*path)).await.expect_err(what);
        assert!(error.is_permanent() && error.message().contains(what), "{what}: {error}");
        assert!(error.hint().unwrap().contains("append = false"), "{what}: {error:?}");
        assert_eq!(fs::read(&path).unwrap(), before, "{what}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{what}: nothing else is made");
    }
}

#[tokio::test]
async fn cells_of_a_plain_workbook_stay_as_they_are_where_they_are() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.xlsx");
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.set_name("Orders").unwrap();
    // A title above the header, a blank row, texts that look like something else, and numbers beyond 2^53.
    sheet.write_string(0, 1, "Orders of March").unwrap();
    sheet.write_string(2, 1, "n").unwrap();
    sheet.write_string(2, 2, "text").unwrap();
    let texts = ["2016-11-08", "0012", " spaced ", "a\nb", "_x0041_", "=1+1", "ü€𝄞", "\u{1}"];
    for (row, text) in (3..).zip(texts) {
        sheet.write_number(row, 1, 1e17 + f64::from(row)).unwrap();
        sheet.write_string(row, 2, text).unwrap();
    }
    sheet.write_boolean(12, 1, true).unwrap();
    sheet.write_number(12, 2, 0.1 + 0.2).unwrap();
    book.save(&path).unwrap();
    let cells = |path: &Path| {
        use calamine::Reader;
        let mut book: calamine::Xlsx<_> = calamine::open_workbook(path).unwrap();
        assert_eq!(book.sheet_names(), ["Orders"]);
        let range = book.worksheet_range("Orders").unwrap();
        range.used_cells().map(|(r, c, data)| format!("{r} {c} {data:?}")).collect::<Vec<_>>()
    };
    let before = cells(&path);
    let config: ExcelConfig = serde_json::from_value(json!({"path": path, "header_row": 3})).unwrap();
    for text in ["new", "newer"] {
        let here = sink(&config).await;
        here.dispatch(vec![Transaction::new("x", &json!({"text": text})).unwrap()]).await.unwrap();
        here.close().await.unwrap();
    }
    let after = cells(&path);
    assert_eq!(after[..before.len()], before);
    assert_eq!(after.len(), before.len() + 2, "{after:?}");
}

#[tokio::test]
async fn a_workbook_is_found_through_a_link_and_keeps_its_permissions() {
    let folder = TempDir::new().unwrap();
    let (path, link) = (folder.path().join("real.xlsx"), folder.path().join("link.xlsx"));
    run(&ExcelConfig::new(&*path), 1).await;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("real.xlsx", &link).unwrap();
    let here = sink(&ExcelConfig::new(&*link)).await;
    assert!(try_sink(&ExcelConfig::new(&*path)).await.is_err(), "it is one workbook");
    here.dispatch(one(2)).await.unwrap();
    here.close().await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(numbers(&path).await, [1, 2]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[tokio::test]
async fn rows_that_are_in_the_workbook_are_not_added_again_after_a_crash() {
    let folder = TempDir::new().unwrap();
    let (path, partial) = (folder.path().join("out.xlsx"), folder.path().join("out.xlsx.partial"));
    let config = ExcelConfig::new(&*path);
    let here = sink(&config).await;
    here.dispatch(one(1)).await.unwrap();
    let rows = fs::read(&partial).unwrap();
    here.close().await.unwrap();
    // The process died after the workbook was whole and before the file of rows was removed.
    fs::write(&partial, &rows).unwrap();
    run(&config, 2).await;
    assert_eq!(numbers(&path).await, [1, 2]);
}

#[tokio::test]
async fn what_a_person_adds_after_a_crash_is_kept() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.xlsx");
    let config = ExcelConfig::new(&*path);
    run(&config, 1).await;
    let crashed = sink(&config).await;
    crashed.dispatch(one(2)).await.unwrap();
    drop(crashed);
    by_hand(&path, |book| {
        book.worksheet_from_index(0).unwrap().write_number(2, 0, 7).unwrap();
    });
    run(&config, 3).await;
    assert_eq!(numbers(&path).await, [1, 7, 2, 3]);
}

#[tokio::test]
async fn no_workbook_replaces_what_is_no_workbook() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.xlsx");
    fs::write(&path, "id,total\n1,5\n").unwrap();
    let error = try_sink(&workbook(&path, true)).await.expect_err("it is refused");
    assert!(error.message().contains("no .xlsx workbook"), "{error}");
    let pipe = folder.path().join("pipe.xlsx");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for append in [true, false] {
        let error = try_sink(&workbook(&pipe, append)).await.expect_err("a pipe is refused");
        assert!(error.message().contains("is no regular file"), "{error}");
    }
}
