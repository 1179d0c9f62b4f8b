//! Reads the names of the columns, and checks whether the configured row is the header. A title above the table is an
//! error at the start, because otherwise every row would be rejected.

use std::sync::Arc;

use serde_json::Value;

use super::sheet::{Cell, Cells, next_content};
use super::{cell, error};
use crate::connector::ConnectorError;
use crate::connector::kit::file::{header_below, trimmed_name};

/// The number of rows below the header that are checked.
const SAMPLE: usize = 20;

/// A sheet and its header.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) sheet: Arc<str>,
    pub(super) names: Arc<[String]>,
    /// The column of the first name, counted from 0.
    pub(super) first: u32,
    /// The first year of the calendar, for dates as numbers.
    pub(super) date_system: u16,
}

/// A cell of the header that is not blank.
struct Named {
    column: u32,
    /// The text as it is in the workbook.
    shown: String,
}

/// Reads the header: a name for each column from the first named column to the last. White space around a name is
/// removed.
pub(super) fn header(cells: &mut Cells<'_>, row: u32) -> Result<Table, ConnectorError> {
    while cells.next_row().is_some_and(|next| next < row) {
        let passed = cells.next_row().unwrap_or_default();
        cells.take(passed)?;
    }
    let mut titles: Vec<Named> = Vec::new();
    while let Some(cell) = cells.take(row)? {
        let place = cell::name(cell.column, row);
        let shown = match cell.value {
            Ok(Value::Null) => continue,
            Ok(Value::String(name)) => name,
            Ok(other) => other.to_string(),
            Err(bad) => return Err(error::header_is_error(cells.path, &cells.sheet, &place, &bad.holds)),
        };
        if !trimmed_name(&shown).is_empty() {
            titles.push(Named { column: cell.column, shown });
        }
    }
    let (path, sheet) = (cells.path, Arc::clone(&cells.sheet));
    let Some(first) = titles.first().map(|title| title.column) else {
        return Err(error::no_header(path, &sheet, row, next_content(cells)?));
    };
    let below = cells.look_at(SAMPLE);
    if let Some((better, width)) = better_row(&titles, &below) {
        return Err(error::title(path, &sheet, (row, titles.len()), (better, width)));
    }
    let mut names: Vec<String> = Vec::with_capacity(titles.len());
    for (expected, Named { column, shown }) in (first..).zip(&titles) {
        if *column != expected {
            return Err(error::blank_header(path, &sheet, &cell::name(expected, row)));
        }
        let name = trimmed_name(shown);
        if let Some(same) = names.iter().position(|earlier| earlier == name) {
            let earlier = titles.get(same).map_or("", |title| &title.shown);
            let places = [same, names.len()].map(|index| first + u32::try_from(index).unwrap_or(u32::MAX));
            let places = places.map(|column| cell::name(column, row));
            return Err(error::same_header(path, &sheet, name, [(earlier, &places[0]), (shown, &places[1])]));
        }
        names.push(name.to_owned());
    }
    let columns = first..=first + u32::try_from(names.len()).unwrap_or(u32::MAX) - 1;
    let is_outside = |row: &Vec<&Cell>| row.iter().any(|cell| !columns.contains(&cell.column));
    if below.len() > 1 && below.iter().all(is_outside) {
        let width = below.iter().map(Vec::len).max().unwrap_or_default();
        return Err(error::narrow_header(path, &sheet, (row, names.len()), width));
    }
    let date_system = if cells.dates.from_1904 { 1904 } else { 1900 };
    Ok(Table { sheet, names: names.into(), first, date_system })
}

/// Finds a row that is more likely the header than the configured row, which then is a title. Returns its number and
/// its number of names.
fn better_row(named: &[Named], below: &[Vec<&Cell>]) -> Option<(u32, usize)> {
    let mut widths: Vec<usize> = [named.len()].into_iter().chain(below.iter().map(Vec::len)).collect();
    let many = |width: usize| widths.iter().filter(|other| **other == width).count();
    let usual = widths.iter().copied().max_by_key(|width| (many(*width), *width))?;
    // A row may end with blank cells, so a wider row does not mean that another table begins.
    for width in &mut widths {
        *width = usual.min(*width);
    }
    let row = below.get(header_below(&widths)?.checked_sub(1)?)?;
    let contiguous = row.windows(2).all(|pair| matches!(pair, [one, next] if one.column + 1 == next.column));
    let is_header = contiguous && row.iter().all(|cell| is_name(cell));
    (is_header || (named.len() == 1 && below.len() > 1)).then_some((row.first()?.row, row.len()))
}

fn is_name(cell: &Cell) -> bool {
    matches!(&cell.value, Ok(Value::String(text)) if trimmed_name(text).parse::<f64>().is_err())
}
