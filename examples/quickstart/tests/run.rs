//! Runs the program on the real workbook, and with the mistakes that a newcomer makes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

struct Run {
    output: Output,
    folder: TempDir,
}

/// Runs the program on the project's own `ergon.toml`, with its output in a temporary folder.
fn run(arguments: &[&str], environment: &[(&str, &Path)]) -> Run {
    let folder = TempDir::new().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_quickstart"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("ERGON_RECEIPTS__PATH", folder.path().join("receipts.jsonl"))
        .env("ERGON_REFUSED__PATH", folder.path().join("refused.jsonl"))
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    Run { output, folder }
}

impl Run {
    fn lines(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn said(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).unwrap()
    }

    /// Asserts that the program reported a single error, with this exit code and with all of `parts` in the message.
    fn failed(&self, code: i32, parts: &[&str]) {
        let said = self.said();
        assert_eq!(self.output.status.code(), Some(code), "{said}");
        assert_eq!(said.matches("error:").count(), 1, "{said}");
        for part in parts {
            assert!(said.contains(part), "{part:?} is missing in:\n{said}");
        }
    }
}

fn workbook() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/superstore.xlsx")
}

fn sum(lines: &[Value], of: impl Fn(&Value) -> f64) -> f64 {
    lines.iter().map(of).sum()
}

#[test]
fn every_line_is_priced_or_refused_and_the_sums_add_up() {
    let run = run(&["run", "price-orders"], &[]);
    assert_eq!(run.output.status.code(), Some(0), "{}", run.said());
    for part in ["9,994 transactions processed", "9,138 succeeded", "856 were rejected"] {
        assert!(run.said().contains(part), "{part:?} is missing in:\n{}", run.said());
    }
    let (receipts, refused) = (run.lines("receipts.jsonl"), run.lines("refused.jsonl"));
    assert_eq!((receipts.len(), refused.len()), (9_138, 856));
    let quantity = sum(&receipts, |receipt| receipt["quantity"].as_f64().unwrap())
        + sum(&refused, |letter| letter["payload"]["Quantity"].as_f64().unwrap());
    let sales = sum(&receipts, |receipt| receipt["sales"].as_f64().unwrap())
        + sum(&refused, |letter| letter["payload"]["Sales"].as_f64().unwrap());
    assert!((quantity - 37_873.0).abs() < 1e-6, "{quantity}");
    assert!((sales - 2_297_200.86).abs() < 0.01, "{sales}");
    let letter = &refused[0];
    assert!(letter["metadata"]["ergon-error"].as_str().unwrap().starts_with("a discount of "), "{letter}");
    assert_eq!(letter["metadata"]["ergon-category"], "business");
    let mut rows: Vec<_> = receipts.iter().map(|receipt| receipt["row_id"].as_u64().unwrap()).collect();
    rows.extend(refused.iter().map(|letter| letter["payload"]["Row ID"].as_u64().unwrap()));
    rows.sort_unstable();
    assert!(rows.iter().copied().eq(1..=9_994), "each row once");
}

#[test]
fn a_workbook_that_is_not_there_is_named() {
    let missing = run(&["run", "price-orders"], &[("ERGON_ORDERS__PATH", Path::new("data/superstroe.xlsx"))]);
    missing.failed(2, &["connector `input` (excel)", "superstroe.xlsx"]);
}

#[test]
fn a_sheet_that_is_not_there_lists_those_that_are() {
    let missing = run(&["run", "price-orders"], &[("ERGON_ORDERS__SHEET", Path::new("Order"))]);
    missing.failed(2, &["connector `input` (excel)", "`Order`", "Orders"]);
}

#[test]
fn a_truncated_workbook_is_told_from_a_whole_one() {
    let folder = TempDir::new().unwrap();
    let truncated = folder.path().join("half.xlsx");
    let whole = std::fs::read(workbook()).unwrap();
    std::fs::write(&truncated, &whole[..whole.len() / 2]).unwrap();
    run(&["run", "price-orders"], &[("ERGON_ORDERS__PATH", &truncated)])
        .failed(2, &["connector `input` (excel)", "cut off"]);
}

#[test]
fn the_line_in_the_data_folder_is_priced_by_hand() {
    let line = "data/line.json";
    let one = run(&["process-transaction", "price-orders", "--payload-file", line, "--dry-run"], &[]);
    assert_eq!(one.output.status.code(), Some(0), "{}", one.said());
    assert!(String::from_utf8(one.output.stdout).unwrap().contains("261.96"));
}
