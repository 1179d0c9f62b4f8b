//! Runs the whole program on the sample orders, with its output in a temporary folder.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_sample_order_becomes_a_receipt_or_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (receipts, refused) = (
        folder.path().join("receipts.jsonl"),
        folder.path().join("refused.jsonl"),
    );
    let run = Command::new(env!("CARGO_BIN_EXE_{{name}}"))
        .args(["run", "example-task"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("ERGON_RECEIPTS__PATH", &receipts)
        .env("ERGON_REFUSED__PATH", &refused)
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let totals: Vec<_> = lines(&receipts)
        .iter()
        .map(|receipt| receipt["total"].clone())
        .collect();
    assert_eq!(totals.len(), 4);
    assert!(totals.contains(&"328.00".into()), "{totals:?}");
    assert_eq!(
        lines(&refused)[0]["metadata"]["ergon-error"],
        "the order has no items"
    );
}
