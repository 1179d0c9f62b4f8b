use std::io::{Read, Write};

use rust_xlsxwriter::Workbook;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::*;
use crate::settings::ByteSize;

/// Replaces one part of a workbook.
pub(super) fn with_part(config: &ExcelConfig, name: &str, content: &[u8]) {
    let mut old = ZipArchive::new(std::fs::File::open(&config.path).unwrap()).unwrap();
    let mut new = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for index in 0..old.len() {
        let mut part = old.by_index(index).unwrap();
        let part_name = part.name().unwrap().into_owned();
        new.start_file(&*part_name, SimpleFileOptions::default()).unwrap();
        if part_name == name {
            new.write_all(content).unwrap();
        } else {
            std::io::copy(&mut part, &mut new).unwrap();
        }
    }
    std::fs::write(&config.path, new.finish().unwrap().into_inner()).unwrap();
}

pub(super) fn part(config: &ExcelConfig, name: &str) -> String {
    let mut parts = ZipArchive::new(std::fs::File::open(&config.path).unwrap()).unwrap();
    let mut content = String::new();
    parts.by_name(name).unwrap().read_to_string(&mut content).unwrap();
    content
}

fn with_header(folder: &Path, names: &[&str]) -> ExcelConfig {
    book(folder, |sheet| {
        sheet.write_row(0, 0, names.iter().copied()).unwrap();
    })
}

#[tokio::test]
async fn a_column_without_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(&with_header(folder.path(), &["id", "", "value"])).await;
    assert!(
        error.message().ends_with("has a column without a name: cell B1 of sheet `Sheet1` is blank"),
        "{error}"
    );
}

#[tokio::test]
async fn two_columns_of_one_name() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(&with_header(folder.path(), &["id", "value", "id"])).await;
    assert!(error.message().ends_with("has two columns named `id` in sheet `Sheet1`: A1 and C1"), "{error}");
}

#[tokio::test]
async fn a_sheet_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut book = Workbook::new();
    book.add_worksheet().set_name("Orders").unwrap();
    book.add_worksheet().set_name("People").unwrap();
    let path = folder.path().join("book.xlsx");
    book.save(&path).unwrap();
    let config = ExcelConfig::new(path);
    let error = refused(&config.clone().with_sheet("orders")).await;
    assert!(error.message().ends_with("has no sheet `orders`; there is `Orders`, `People`"), "{error}");
    assert_eq!(error.hint(), Some("did you mean `Orders`?"));
    assert!(refused(&config.with_sheet("zzz")).await.hint().unwrap().starts_with("name one of them"));
}

#[tokio::test]
async fn a_sheet_without_a_header() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(&book(folder.path(), |_| {})).await;
    assert!(error.message().contains("has nothing in sheet `Sheet1` from row 1 on"), "{error}");

    let late = book(folder.path(), |sheet| {
        sheet.write(2, 0, "id").unwrap();
    });
    let error = refused(&late).await;
    assert_eq!(error.hint(), Some("the first row with content is 3: set `header_row = 3`"));
}

#[tokio::test]
async fn an_old_workbook_under_a_new_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.xlsx");
    std::fs::write(&path, [&b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"[..], &[0; 4000]].concat()).unwrap();
    let error = refused(&ExcelConfig::new(path)).await;
    assert!(error.message().ends_with("is a workbook of the old .xls format, expected .xlsx"), "{error}");
}

#[tokio::test]
async fn an_encrypted_workbook() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret.xlsx");
    std::fs::write(&path, compound_file("EncryptedPackage")).unwrap();
    let error = refused(&ExcelConfig::new(path)).await;
    assert!(error.message().ends_with("is encrypted with a password"), "{error}");
}

/// The smallest compound file that holds a stream of this name: header, allocation table, directory.
fn compound_file(stream: &str) -> Vec<u8> {
    const FREE: u32 = 0xffff_ffff;
    const END: u32 = 0xffff_fffe;
    let mut header = vec![0; 76];
    header[..8].copy_from_slice(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1");
    header[24..34].copy_from_slice(&[0x3e, 0, 3, 0, 0xfe, 0xff, 9, 0, 6, 0]);
    for (at, value) in [(44, 1), (48, 1), (56, 4096), (60, END), (68, END)] {
        header[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let tables = words(&[&[0][..], &[FREE; 108]].concat());
    let allocation = words(&[&[0xffff_fffd, END][..], &[FREE; 126]].concat());
    let entry = |name: &str, kind: u8| {
        let mut entry: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let length = u8::try_from(entry.len() + 2).unwrap();
        entry.resize(128, 0);
        (entry[64], entry[66]) = (length, kind);
        entry[68..80].fill(0xff);
        entry[116..120].copy_from_slice(&END.to_le_bytes());
        entry
    };
    let directory = [entry("Root Entry", 5), entry(stream, 2), vec![0; 256]].concat();
    [header, tables, allocation, directory].concat()
}

#[tokio::test]
async fn a_workbook_that_was_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let config = column(folder.path(), 0..1000);
    let whole = std::fs::read(&config.path).unwrap();
    for length in [4, whole.len() / 2, whole.len() - 30] {
        std::fs::write(&config.path, &whole[..length]).unwrap();
        let error = refused(&config).await;
        assert!(error.message().ends_with("is cut off or damaged"), "{length}: {error}");
    }
}

#[tokio::test]
async fn no_workbook_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let config = ExcelConfig::new(folder.path().join("book.xlsx"));
    std::fs::write(&config.path, "id,value\n1,2\n").unwrap();
    assert!(refused(&config).await.message().ends_with("is not an .xlsx workbook"));
    std::fs::write(&config.path, "").unwrap();
    assert!(refused(&config).await.message().contains("has no content (0 bytes)"));
    std::fs::remove_file(&config.path).unwrap();
    assert!(refused(&config).await.message().starts_with("cannot open /"));
}

#[tokio::test]
async fn a_workbook_that_is_too_large_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let config = ExcelConfig { max_bytes: ByteSize::new(1000), ..column(folder.path(), 0..10) };
    let error = refused(&config).await;
    assert!(error.message().ends_with("more than max_bytes = 1000 bytes"), "{error}");
}

#[tokio::test]
async fn a_bomb_in_the_texts() {
    let folder = tempfile::tempdir().unwrap();
    let config = column(folder.path(), ["text"]);
    let texts = format!("<sst><si><t>{}</t></si></sst>", "a".repeat(20 << 20));
    with_part(&config, "xl/sharedStrings.xml", texts.as_bytes());
    let error = refused(&config).await;
    assert!(
        error.message().contains("looks like a decompression bomb: its part `xl/sharedStrings.xml`"),
        "{error}"
    );
}

#[tokio::test]
async fn a_bomb_that_lies_about_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let config = column(folder.path(), ["text"]);
    let size: u32 = 4 << 20;
    let texts = format!("<sst><si><t>{}", "a".repeat(size as usize - 12));
    with_part(&config, "xl/sharedStrings.xml", texts.as_bytes());
    let mut bytes = std::fs::read(&config.path).unwrap();
    let (true_size, lie) = (size.to_le_bytes(), 1000_u32.to_le_bytes());
    let places: Vec<_> = (0..bytes.len() - 4).filter(|at| bytes[*at..*at + 4] == true_size).collect();
    assert_eq!(places.len(), 2, "the size stands before the part, and in the list of parts");
    for at in places {
        bytes[at..at + 4].copy_from_slice(&lie);
    }
    std::fs::write(&config.path, bytes).unwrap();
    assert!(refused(&config).await.message().ends_with("is cut off or damaged"));
}

#[tokio::test]
async fn texts_that_are_announced_and_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let config = column(folder.path(), ["text"]);
    let texts =
        part(&config, "xl/sharedStrings.xml").replace("uniqueCount=\"3\"", "uniqueCount=\"99999999999\"");
    assert!(texts.contains("99999999999"));
    with_part(&config, "xl/sharedStrings.xml", texts.as_bytes());
    assert!(refused(&config).await.message().contains("it declares 99999999999 texts"));
}

#[tokio::test]
async fn a_cell_in_the_last_corner() {
    let folder = tempfile::tempdir().unwrap();
    let config = book(folder.path(), |sheet| {
        sheet.write(0, 0, "id").unwrap();
        sheet.write(1, 0, 1).unwrap();
        sheet.write(1_048_575, 16_383, 1).unwrap();
    });
    let deliveries = all(&open(&config).await).await;
    assert_eq!(ids(&deliveries), ["Sheet1!2", "Sheet1!1048576"]);
    let error = deliveries[1].transaction().decode::<serde_json::Value>().unwrap_err();
    let expected = "payload: cell XFD1048576 of sheet `Sheet1` holds 1, but its column has no name";
    assert_eq!(error.message(), expected);

    let header = book(folder.path(), |sheet| {
        sheet.write(0, 0, "id").unwrap().write(0, 16_383, "last").unwrap();
    });
    assert!(refused(&header).await.message().contains("cell B1 of sheet `Sheet1` is blank"));
}

#[tokio::test]
async fn a_sheet_that_breaks_off_is_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let config = column(folder.path(), 0..1000);
    let sheet = part(&config, "xl/worksheets/sheet1.xml");
    let at = sheet.find("<row r=\"900\"").unwrap();
    with_part(&config, "xl/worksheets/sheet1.xml", &sheet.as_bytes()[..at]);
    let source = open(&config).await;
    let mut rows = 0;
    let error = loop {
        match source.fetch(&FetchRequest::new(100)).await {
            Ok(deliveries) => rows += deliveries.len(),
            Err(error) => break error,
        }
        assert!(rows < 1000, "the rows end without an error");
    };
    // Row 899 may be incomplete, because no cell follows it.
    assert_eq!(rows, 897);
    assert!(error.message().contains("cannot be read after row 899 of sheet `Sheet1`"), "{error}");
    assert!(source.fetch(&FetchRequest::new(1)).await.is_err(), "and it stays so");
}
