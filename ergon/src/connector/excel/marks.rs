//! Which rows a workbook has: a crash after the workbook was written and before the file of rows was removed must not
//! add them twice. The file of rows has a mark of its own, which the workbook gets with the rows.

/// The part of a workbook that holds the mark, and its name there. Programs that save the workbook keep it.
pub(super) const PART: &str = "docProps/custom.xml";
pub(super) const NAME: &str = "Ergon rows";

/// What a line with a mark begins with, behind the quote.
const LINE: &str = "rows:";

/// Makes a mark that no other file of rows has.
pub(super) fn new() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// The mark as a line of the file of rows.
pub(super) fn line(mark: &str) -> String {
    format!("\"{LINE}{mark}\"")
}

/// The mark that a line says.
pub(super) fn of_line(line: &[u8]) -> Option<String> {
    let text: String = serde_json::from_slice(line).ok()?;
    text.strip_prefix(LINE).map(str::to_owned)
}
