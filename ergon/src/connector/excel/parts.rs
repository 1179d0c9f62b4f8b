//! Reads the parts of a workbook: a zip archive of XML texts that refer to each other.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};
use zip::ZipArchive;
use zip::read::ZipFile;

/// Reads a file from its own position, because several readers share the open file. If another program replaces the
/// file, the reader still sees the old one.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    file: Arc<File>,
    at: u64,
}

impl Shared {
    pub(super) fn new(file: File) -> Self {
        Self { file: Arc::new(file), at: 0 }
    }
}

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(self.at))?;
        let read = file.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Shared {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(self.at))?;
        self.at = file.seek(to)?;
        Ok(self.at)
    }
}

pub(super) type Archive = ZipArchive<BufReader<Shared>>;
pub(super) type Xml<'a> = Reader<BufReader<ZipFile<'a, BufReader<Shared>>>>;

/// Returns a part as XML, read as `calamine` reads it, so that both see the same.
pub(super) fn part<'a>(parts: &'a mut Archive, name: &str) -> Option<Xml<'a>> {
    let index = (0..parts.len()).find(|index| {
        let there = parts.name_for_index(*index).and_then(Result::ok);
        there.is_some_and(|there| there.replace('\\', "/").eq_ignore_ascii_case(name))
    })?;
    let mut xml = Reader::from_reader(BufReader::new(parts.by_index(index).ok()?));
    let config = xml.config_mut();
    config.check_end_names = false;
    config.check_comments = false;
    config.expand_empty_elements = true;
    Some(xml)
}

/// Returns the name of a sheet's part, by its position among the sheets of the workbook.
pub(super) fn sheet_part(parts: &mut Archive, place: usize) -> Option<String> {
    let workbook = relationships(parts, "_rels/.rels")
        .into_iter()
        .find(|relationship| relationship.kind.ends_with("/officeDocument"))
        .map_or_else(
            || "xl/workbook.xml".to_owned(),
            |found| found.target.trim_start_matches('/').to_owned(),
        );
    let (folder, file) = workbook.rsplit_once('/').unwrap_or(("", &workbook));
    let slash = if folder.is_empty() { "" } else { "/" };
    let mut sheets = Vec::new();
    elements(parts, &workbook, "sheet", |sheet| sheets.push(attribute(sheet, "id").unwrap_or_default()));
    let id = sheets.get(place)?;
    let all = relationships(parts, &format!("{folder}{slash}_rels/{file}.rels"));
    let target = all.into_iter().find(|relationship| relationship.id == *id)?.target;
    Some(match target.strip_prefix('/') {
        Some(whole) => whole.to_owned(),
        None => format!("{folder}{slash}{target}"),
    })
}

struct Relationship {
    id: String,
    kind: String,
    target: String,
}

fn relationships(parts: &mut Archive, name: &str) -> Vec<Relationship> {
    let mut all = Vec::new();
    elements(parts, name, "Relationship", |element| {
        let of = |name| attribute(element, name).unwrap_or_default();
        all.push(Relationship { id: of("Id"), kind: of("Type"), target: of("Target") });
    });
    all
}

/// Passes the elements with this name in a part to `take`. Passes no element if the part is missing or is not XML.
fn elements(parts: &mut Archive, part_name: &str, name: &str, mut take: impl FnMut(&BytesStart<'_>)) {
    let Some(mut xml) = part(parts, part_name) else { return };
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match xml.read_event_into(&mut buffer) {
            Ok(Event::Start(element)) if element.local_name().as_ref() == name => take(&element),
            Ok(Event::Eof) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut all = element.attributes();
    let found =
        all.with_checks(false).flatten().find(|attribute| attribute.key.local_name().as_ref() == name)?;
    unescape(&found.value).ok().map(Cow::into_owned)
}
