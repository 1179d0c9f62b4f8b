//! Reads the workbook that a run adds rows to. The sink writes it again, cell by cell, so it may have only content
//! that can be written again: one sheet of plain cells. A workbook with any other content is refused, because that
//! content would be lost.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use zip::ZipArchive;

use super::lines::{MARK_NAME, MARK_PART};
use super::rows::Rows;
use super::workbook::open_workbook;
use super::{ExcelConfig, cell, error};
use crate::connector::kit::file::{display_path, file_error};
use crate::connector::{ConnectorError, Shard};
use crate::settings::ByteSize;

/// The formats of dates, and of dates with a time.
pub(super) const DATE_PATTERN: &str = "yyyy-mm-dd";
pub(super) const TIME_PATTERN: &str = "yyyy-mm-dd hh:mm:ss";

/// The facts of an existing workbook that the sink needs.
#[derive(Debug, Default)]
pub(super) struct Existing {
    pub(super) sheet: String,
    /// The names in the header; `None` if the sheet is empty from the row of the header on.
    pub(super) names: Option<Arc<[String]>>,
    /// The column of the first name, counted from 0.
    pub(super) first: u32,
    /// The last row with a cell, counted from 1; 0 if there is none.
    pub(super) last_row: u32,
    /// The mark of the rows that were added last; see [`MARK_PART`].
    pub(super) mark: Option<String>,
}

/// A cell that can be written again as it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Number(f64, Look),
    Flag(bool),
    Text(String),
}

/// The number format of the cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Date,
    Time,
}

/// Receives a cell: its row counted from 1, its column counted from 0, and its content.
pub(super) type Visit<'a> = &'a mut dyn FnMut(u32, u32, Cell) -> Result<(), ConnectorError>;

/// Reads the workbook, and passes its cells to `visit` in order. Returns `None` if the path has no workbook.
///
/// # Errors
/// The workbook cannot be read, or it has content that cannot be written again.
pub(super) fn read(config: &ExcelConfig, visit: Visit<'_>) -> Result<Option<Existing>, ConnectorError> {
    let path: &Path = &config.path;
    if !path.exists() {
        return Ok(None);
    }
    // A workbook of this sink may be larger than the limit of a source.
    let config = ExcelConfig {
        filter: None,
        max_rows: None,
        batch_mode: false,
        max_bytes: ByteSize::new(u64::MAX),
        ..config.clone()
    };
    let mut workbook = open_workbook(&config)?;
    let (mut kept, has_header) = Parts::open(path)?.read(&config, visit)?;
    if has_header {
        kept.names = Some(Arc::clone(&Rows::new(&mut workbook, &config, Shard::default())?.table().names));
    }
    Ok(Some(kept))
}

/// The parts of a workbook, and their content that cannot be written again.
struct Parts<'a> {
    path: &'a Path,
    archive: ZipArchive<BufReader<File>>,
    found: Vec<String>,
}

/// The parts that every workbook of plain cells has or may have.
const PLAIN_PARTS: [&str; 9] = [
    "[Content_Types].xml",
    "_rels/.rels",
    "docProps/app.xml",
    "docProps/core.xml",
    MARK_PART,
    "xl/workbook.xml",
    "xl/_rels/workbook.xml.rels",
    "xl/styles.xml",
    "xl/sharedStrings.xml",
];

impl<'a> Parts<'a> {
    fn open(path: &'a Path) -> Result<Self, ConnectorError> {
        let file = File::open(path).map_err(|error| file_error("open", path, error))?;
        let archive = ZipArchive::new(BufReader::new(file)).map_err(|cause| error::damaged(path, cause))?;
        Ok(Self { path, archive, found: Vec::new() })
    }

    /// Records content that would be lost.
    fn find(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.found.contains(&what) {
            self.found.push(what);
        }
    }

    fn read(mut self, config: &ExcelConfig, visit: Visit<'_>) -> Result<(Existing, bool), ConnectorError> {
        let names = self.archive.file_names().map(|name| name.map(Cow::into_owned));
        let names: Vec<String> =
            names.collect::<Result<_, _>>().map_err(|cause| error::damaged(self.path, cause))?;
        let is_sheet =
            |name: &&String| name.strip_prefix("xl/worksheets/").is_some_and(|part| !part.contains('/'));
        let sheets: Vec<&String> = names.iter().filter(is_sheet).collect();
        for name in names.iter().filter(|name| !is_sheet(name)) {
            let plain = PLAIN_PARTS.contains(&name.as_str()) || name.starts_with("xl/theme/");
            if !plain && !name.ends_with('/') {
                self.find(format!("`{name}`"));
            }
        }
        let has = |part: &str| names.iter().any(|name| name == part);
        let mut kept = Existing { sheet: self.workbook()?, ..Existing::default() };
        if has(MARK_PART) {
            kept.mark = self.mark()?;
        }
        let looks = if has("xl/styles.xml") { self.looks()? } else { Vec::new() };
        let texts = if has("xl/sharedStrings.xml") { self.texts()? } else { Vec::new() };
        let mut has_header = false;
        if let [sheet] = sheets.as_slice() {
            let mut rows =
                Sheet { looks, texts, kept: &mut kept, header_row: config.header_row, has_header: false };
            self.sheet(sheet, &mut rows, visit)?;
            has_header = rows.has_header;
        } else {
            self.find("other sheets");
        }
        if self.found.is_empty() { Ok((kept, has_header)) } else { Err(self.refused()) }
    }

    fn refused(mut self) -> ConnectorError {
        const SHOWN: usize = 5;
        let more = self.found.len().saturating_sub(SHOWN);
        self.found.truncate(SHOWN);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let what = format!(
            "{} holds what would be lost when rows are added to it: {}{more}",
            display_path(self.path),
            self.found.join(", ")
        );
        ConnectorError::permanent(what).with_hint(
            "rows are added to a workbook with one sheet of plain cells only, because it is written anew; write to \
             another workbook, or set `append = false` to replace this one",
        )
    }

    /// Passes each event of a part to `take`, which returns content that would be lost.
    fn part(
        &mut self,
        name: &str,
        mut take: impl FnMut(&Event<'_>) -> Result<Option<String>, ConnectorError>,
    ) -> Result<(), ConnectorError> {
        let path = self.path;
        let mut lost = Vec::new();
        {
            let part = self.archive.by_name(name).map_err(|cause| error::damaged(path, cause))?;
            let mut xml = Reader::from_reader(BufReader::with_capacity(64 << 10, part));
            let mut buffer = Vec::new();
            loop {
                buffer.clear();
                let event = next(&mut xml, &mut buffer).map_err(|cause| error::damaged(path, cause))?;
                if matches!(event, Event::Eof) {
                    break;
                }
                lost.extend(take(&event)?);
            }
        }
        for what in lost {
            self.find(what);
        }
        Ok(())
    }

    /// Reads the workbook itself: the name of its sheet.
    fn workbook(&mut self) -> Result<String, ConnectorError> {
        const PLAIN: [&str; 8] = [
            "workbook",
            "fileVersion",
            "workbookPr",
            "bookViews",
            "workbookView",
            "sheets",
            "calcPr",
            "revisionPtr",
        ];
        let (mut sheet, mut ignored) = (None, 0_u32);
        self.part("xl/workbook.xml", |event| {
            let (Event::Start(tag) | Event::Empty(tag)) = event else {
                ignored = ignored.saturating_sub(u32::from(ignored > 0 && matches!(event, Event::End(_))));
                return Ok(None);
            };
            let name = local(tag);
            // Only the program that saved the workbook uses this content, so its loss changes no data.
            if ignored > 0 || matches!(name, "AlternateContent" | "extLst") {
                ignored += u32::from(matches!(event, Event::Start(_)));
                return Ok(None);
            }
            if name == "sheet" {
                let more = sheet.is_some();
                sheet = sheet.take().or_else(|| attribute(tag, "name"));
                return Ok(more.then(|| "other sheets".to_owned()));
            }
            let is_1904 = attribute(tag, "date1904").is_some_and(|value| value == "1" || value == "true");
            if name == "workbookPr" && is_1904 {
                return Ok(Some("the 1904 date system".to_owned()));
            }
            Ok((!PLAIN.contains(&name)).then(|| named(name)))
        })?;
        sheet.ok_or_else(|| error::no_workbook(self.path, None))
    }

    /// Reads the mark of the rows that were added last.
    fn mark(&mut self) -> Result<Option<String>, ConnectorError> {
        let (mut is_mark, mut mark) = (false, String::new());
        self.part(MARK_PART, |event| {
            match event {
                Event::Start(tag) if local(tag) == "property" => {
                    let name = attribute(tag, "name").unwrap_or_default();
                    is_mark = name == MARK_NAME;
                    return Ok((!is_mark).then(|| format!("the property `{name}`")));
                }
                Event::Text(text) if is_mark => mark.push_str(&text.xml10_content()),
                _ => {}
            }
            Ok(None)
        })?;
        Ok(Some(mark.trim().to_owned()).filter(|mark| !mark.is_empty()))
    }

    /// Reads the number format of each cell format; `None` for a cell format that cannot be written again.
    fn looks(&mut self) -> Result<Vec<Option<Look>>, ConnectorError> {
        let (mut patterns, mut looks) = (HashMap::new(), Vec::new());
        let mut in_formats = false;
        self.part("xl/styles.xml", |event| {
            match event {
                Event::Start(tag) | Event::Empty(tag) => match local(tag) {
                    "numFmt" => {
                        let pattern = attribute(tag, "formatCode").unwrap_or_default();
                        patterns.insert(attribute(tag, "numFmtId").unwrap_or_default(), pattern);
                    }
                    "cellXfs" => in_formats = matches!(event, Event::Start(_)),
                    "xf" if in_formats => looks.push(look(tag, &patterns)),
                    // The element is an alignment or a protection, which would be lost.
                    _ if in_formats => looks.last_mut().into_iter().for_each(|look| *look = None),
                    _ => {}
                },
                Event::End(tag) if tag.local_name().as_ref() == "cellXfs" => in_formats = false,
                _ => {}
            }
            Ok(None)
        })?;
        Ok(looks)
    }

    /// Reads the table of shared texts.
    fn texts(&mut self) -> Result<Vec<String>, ConnectorError> {
        let (mut texts, mut in_text) = (Vec::new(), false);
        self.part("xl/sharedStrings.xml", |event| {
            match event {
                Event::Start(tag) | Event::Empty(tag) => match local(tag) {
                    "si" => texts.push(String::new()),
                    "t" => in_text = matches!(event, Event::Start(_)),
                    "sst" => {}
                    "r" => return Ok(Some("texts with formats of their own".to_owned())),
                    other => return Ok(Some(named(other))),
                },
                Event::End(_) => in_text = false,
                content if in_text => {
                    if let Some(text) = texts.last_mut() {
                        push(text, content);
                    }
                }
                _ => {}
            }
            Ok(None)
        })?;
        Ok(texts.into_iter().map(|text| unescaped(&text)).collect())
    }

    fn sheet(&mut self, name: &str, rows: &mut Sheet<'_>, visit: Visit<'_>) -> Result<(), ConnectorError> {
        let (mut now, mut is_content) = (Now::default(), false);
        self.part(name, |event| match event {
            Event::Start(tag) | Event::Empty(tag) => {
                let ends = matches!(event, Event::Empty(_));
                is_content = !ends && matches!(local(tag), "v" | "t");
                let lost = match local(tag) {
                    "row" => now.row(tag),
                    "c" => now.cell(tag),
                    "v" | "t" => None,
                    other => plain_sheet(other, tag),
                };
                if lost.is_some() || !(ends && local(tag) == "c") {
                    return Ok(lost);
                }
                rows.take(&mut now, &mut *visit)
            }
            Event::End(tag) => {
                is_content = false;
                if tag.local_name().as_ref() == "c" { rows.take(&mut now, &mut *visit) } else { Ok(None) }
            }
            text => {
                if is_content {
                    push(&mut now.content, text);
                }
                Ok(None)
            }
        })
    }
}

/// The cell that is being read.
#[derive(Default)]
struct Now {
    row: u32,
    /// The column of the next cell without its own, counted from 0.
    column: u32,
    kind: String,
    format: usize,
    content: String,
}

impl Now {
    fn row(&mut self, tag: &BytesStart<'_>) -> Option<String> {
        let before = self.row;
        self.row = attribute(tag, "r").and_then(|row| row.parse().ok()).unwrap_or(before + 1);
        self.column = 0;
        if self.row <= before {
            return Some("rows that are not in order".to_owned());
        }
        let plain = |key: &str| matches!(key, "r" | "spans") || key.contains(':');
        (!only(tag, plain)).then(|| format!("a format of row {} (`row`)", self.row))
    }

    fn cell(&mut self, tag: &BytesStart<'_>) -> Option<String> {
        if let Some(column) = attribute(tag, "r").and_then(|name| column_of(&name)) {
            self.column = column;
        }
        self.kind = attribute(tag, "t").unwrap_or_default();
        self.format = attribute(tag, "s").and_then(|format| format.parse().ok()).unwrap_or_default();
        self.content.clear();
        let plain = |key: &str| matches!(key, "r" | "s" | "t");
        (!only(tag, plain)).then(|| format!("more than a value in cell {}", self.name()))
    }

    fn name(&self) -> String {
        cell::name(self.column, self.row)
    }
}

/// The cells of the sheet, in order.
struct Sheet<'a> {
    looks: Vec<Option<Look>>,
    texts: Vec<String>,
    kept: &'a mut Existing,
    header_row: u32,
    has_header: bool,
}

impl Sheet<'_> {
    /// Passes the finished cell on, and returns content of it that would be lost.
    fn take(&mut self, now: &mut Now, visit: Visit<'_>) -> Result<Option<String>, ConnectorError> {
        let look = self.looks.get(now.format).copied().unwrap_or((now.format == 0).then_some(Look::Plain));
        let (row, column) = (now.row, now.column);
        now.column += 1;
        let place = cell::name(column, row);
        let Some(look) = look else { return Ok(Some(format!("the format of cell {place}"))) };
        let value = match now.kind.as_str() {
            "" | "n" if now.content.is_empty() => None,
            "" | "n" => match now.content.trim().parse() {
                Ok(number) => Some(Cell::Number(number, look)),
                Err(_) => return Ok(Some(format!("the value of cell {place}"))),
            },
            "b" => Some(Cell::Flag(now.content.trim() == "1")),
            "s" => match now.content.trim().parse().ok().and_then(|index: usize| self.texts.get(index)) {
                Some(text) => Some(Cell::Text(text.clone())),
                None => return Ok(Some(format!("the value of cell {place}"))),
            },
            "inlineStr" | "str" => Some(Cell::Text(unescaped(&now.content))),
            "e" => return Ok(Some(format!("the error value of cell {place}"))),
            _ => return Ok(Some(format!("the value of cell {place}"))),
        };
        let Some(value) = value else {
            let blank_format = look != Look::Plain;
            return Ok(blank_format.then(|| format!("the format of cell {place}")));
        };
        if look != Look::Plain && !matches!(value, Cell::Number(..)) {
            return Ok(Some(format!("the format of cell {place}")));
        }
        self.kept.last_row = self.kept.last_row.max(row);
        if row >= self.header_row {
            let is_name = !matches!(&value, Cell::Text(text) if text.trim().is_empty());
            if row == self.header_row && is_name && !self.has_header {
                self.kept.first = column;
            }
            self.has_header = true;
        }
        visit(row, column, value).map(|()| None)
    }
}

/// Returns the content that would be lost with an element of the sheet other than a cell.
fn plain_sheet(name: &str, tag: &BytesStart<'_>) -> Option<String> {
    let plain = match name {
        "worksheet" | "dimension" | "sheetViews" | "selection" | "sheetData" | "is" | "pageMargins"
        | "phoneticPr" => true,
        "sheetView" => only(tag, |key| {
            matches!(key, "tabSelected" | "workbookViewId" | "zoomScale" | "zoomScaleNormal" | "topLeftCell")
        }),
        "sheetFormatPr" => only(tag, |key| {
            matches!(key, "defaultRowHeight" | "baseColWidth" | "outlineLevelRow" | "outlineLevelCol")
                || key.contains(':')
        }),
        _ => false,
    };
    (!plain).then(|| named(name))
}

/// Describes an element that would be lost, in words if there are any.
fn named(element: &str) -> String {
    let words = match element {
        "cols" => "the widths of columns",
        "pane" => "rows or columns that stay in view",
        "mergeCells" => "merged cells",
        "autoFilter" => "a filter",
        "f" => "formulas",
        "definedNames" => "names of cells",
        "conditionalFormatting" => "formats with conditions",
        "dataValidations" => "rules for values",
        "hyperlinks" => "links",
        "sheetProtection" | "workbookProtection" | "fileSharing" => "a protection",
        "pageSetup" | "printOptions" | "headerFooter" => "how it is printed",
        "tableParts" => "tables",
        _ => return format!("`{element}`"),
    };
    format!("{words} (`{element}`)")
}

/// Returns the number format of a cell format; `None` if the cell format has anything else, such as a font or a color.
fn look(tag: &BytesStart<'_>, patterns: &HashMap<String, String>) -> Option<Look> {
    let is_zero = |key: &str| attribute(tag, key).is_none_or(|value| value == "0");
    if !["fontId", "fillId", "borderId"].into_iter().all(is_zero) {
        return None;
    }
    let format = attribute(tag, "numFmtId").unwrap_or_else(|| "0".to_owned());
    match patterns.get(&format).map(String::as_str) {
        None if format == "0" => Some(Look::Plain),
        Some(DATE_PATTERN) => Some(Look::Date),
        Some(TIME_PATTERN) => Some(Look::Time),
        _ => None,
    }
}

fn next<'b, R: BufRead>(xml: &mut Reader<R>, buffer: &'b mut Vec<u8>) -> Result<Event<'b>, quick_xml::Error> {
    xml.read_event_into(buffer)
}

/// Returns the name of an element without the prefix of its namespace.
fn local<'t>(tag: &'t BytesStart<'_>) -> &'t str {
    tag.local_name().into_inner()
}

fn attribute(tag: &BytesStart<'_>, key: &str) -> Option<String> {
    let attribute = tag.try_get_attribute(key).ok().flatten()?;
    attribute.normalized_value(XmlVersion::Implicit1_0).ok().map(Cow::into_owned)
}

/// Returns whether an element has only plain attributes.
fn only(tag: &BytesStart<'_>, plain: impl Fn(&str) -> bool) -> bool {
    tag.attributes().all(|attribute| attribute.is_ok_and(|attribute| plain(attribute.key.as_ref())))
}

/// Appends a piece of text.
fn push(text: &mut String, event: &Event<'_>) {
    match event {
        Event::Text(piece) => text.push_str(&piece.xml10_content()),
        Event::CData(piece) => text.push_str(&piece.xml10_content()),
        Event::GeneralRef(reference) => match reference.resolve_char_ref() {
            Ok(Some(character)) => text.push(character),
            _ => text.push_str(quick_xml::escape::resolve_xml_entity(reference).unwrap_or_default()),
        },
        _ => {}
    }
}

/// Decodes a text as Excel shows it: `_x000D_` is the character with that number.
fn unescaped(text: &str) -> String {
    const LENGTH: usize = "_x000D_".len();
    let mut units = Vec::new();
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    let code = |rest: &str| {
        let digits = rest.get(..LENGTH)?.strip_prefix("_x")?.strip_suffix('_')?;
        digits.chars().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
    };
    while let Some(character) = rest.chars().next() {
        match code(rest) {
            Some(unit) => {
                units.push(unit);
                rest = rest.get(LENGTH..).unwrap_or_default();
            }
            None => {
                plain.push_str(&String::from_utf16_lossy(&units));
                units.clear();
                plain.push(character);
                rest = rest.get(character.len_utf8()..).unwrap_or_default();
            }
        }
    }
    plain.push_str(&String::from_utf16_lossy(&units));
    plain
}

/// Returns the column of a cell's name, counted from 0.
fn column_of(name: &str) -> Option<u32> {
    let letters = name.chars().take_while(char::is_ascii_alphabetic);
    let number = letters.fold(0_u32, |number, letter| {
        number.saturating_mul(26).saturating_add(u32::from(letter.to_ascii_uppercase()) - u32::from('A') + 1)
    });
    number.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_what_excel_shows() {
        for (raw, shown) in [
            ("a_x000D_b", "a\rb"),
            ("_x005F_x0041_", "_x0041_"),
            ("_xD835__xDD1E_", "𝔞"),
            ("_x00G0_ _x1_ ü", "_x00G0_ _x1_ ü"),
        ] {
            assert_eq!(unescaped(raw), shown, "{raw}");
        }
    }

    #[test]
    fn columns_are_found_by_their_names() {
        let names = ["A1", "Z2", "AA3", "XFD1048576", "12"];
        assert_eq!(names.map(column_of), [Some(0), Some(25), Some(26), Some(16_383), None]);
    }
}
