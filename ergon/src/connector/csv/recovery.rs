//! Finds the next record, and after a damaged record the line on which reading resumes.
//!
//! If a quote opens a cell by mistake, the cell includes the lines after it, up to the next quote. So the place where a
//! record breaks the rules may be far below the mistake. The search reads the lines in between again as separate
//! records. If they are whole records, the damaged record ends with the line of the mistake. Otherwise they belong to
//! it.

use super::syntax::{Flaw, Rest, Scan, Syntax, Unfinished, What, is_line_end, line_end};

/// The number of lines of one damaged record that are tried as the start of the next record.
const MOST_LINES: usize = 100;

/// The form that the records of a file have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) syntax: Syntax,
    /// The number of cells in a record; unknown before the first record.
    pub(super) columns: Option<usize>,
}

/// A record, or the rest of a damaged record.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) begins: usize,
    /// The end of its content, without the end of its last line.
    pub(super) end: usize,
    /// The place at which reading continues.
    pub(super) next: usize,
    pub(super) state: State,
    /// Its cells; for a damaged record, the cells before the flaw.
    pub(super) scan: Scan,
}

impl Found {
    /// Moves its places: they count from this many bytes before.
    pub(super) fn shift(&mut self, by: usize) {
        (self.begins, self.end, self.next) = (self.begins + by, self.end + by, self.next + by);
        if let State::Damaged(flaw) = &mut self.state {
            (flaw.at, flaw.cell) = (flaw.at + by, flaw.cell + by);
        }
        self.scan.shift(by);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The record keeps the rules of quoting, with any number of cells.
    Whole,
    Damaged(Flaw),
    /// The first line of the record does not end within the size limit.
    TooLong,
}

/// The bounds of a search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) rest: Rest,
    pub(super) ahead: Ahead,
}

/// Whether the search checks the following record before it accepts a record of several lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    Yes,
    /// Only if the following record is in the window already.
    IfThere,
    No,
}

impl Form {
    /// Finds the first record in the bytes; `None` if only line ends are left.
    pub(super) fn find(self, bytes: &[u8], bounds: Bounds) -> Result<Option<Found>, Unfinished> {
        let begins = after_line_ends(bytes, 0);
        if begins == bytes.len() {
            return if bounds.rest == Rest::More { Err(Unfinished) } else { Ok(None) };
        }
        let search = Search { form: self, bytes, bounds };
        search.record(begins).map(Some)
    }

    /// Returns whether the record keeps the rules and has as many cells as the others.
    fn is_sound(self, scan: &Scan) -> bool {
        scan.flaw.is_none() && self.columns.is_none_or(|columns| columns == scan.len())
    }
}

/// The part of the bytes that is the record.
struct Part {
    end: usize,
    next: usize,
    state: State,
}

/// The kind of cell that a quote opens, although the scan took it as a closing quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// A cell within a line.
    Cell,
    /// The first cell of a line. This is less certain, because a text may also end with a line end.
    Line,
}

struct Search<'b> {
    form: Form,
    bytes: &'b [u8],
    bounds: Bounds,
}

impl Search<'_> {
    fn record(&self, begins: usize) -> Result<Found, Unfinished> {
        let scan = self.scan(begins)?;
        let part = match scan.flaw {
            None => self.unflawed(&scan)?,
            Some(flaw) => self.damaged(begins, &scan, flaw)?,
        };
        let is_cut = self.bounds.rest == Rest::TooMuch && part.next == self.bytes.len();
        let state = if is_cut { State::TooLong } else { part.state };
        Ok(Found { begins, end: part.end, next: part.next, state, scan })
    }

    /// Checks a record without a flaw. A record of several lines may be two halves of others, with a mistake in the
    /// first. Then the lines within it are whole records, and no record follows it.
    fn unflawed(&self, scan: &Scan) -> Result<Part, Unfinished> {
        let doubted = if scan.crossings.is_empty() {
            None
        } else if self.form.is_sound(scan) {
            self.trouble_after(scan)?
        } else {
            Some(scan.next)
        };
        if let (Some(trouble), Some(first)) = (doubted, scan.crossings.first()) {
            let resumes = match self.resumes(first.goes_on, scan.end, trouble) {
                Err(Unfinished) if self.bounds.ahead == Ahead::IfThere => None,
                resumes => resumes?,
            };
            if let Some(next) = resumes {
                return Ok(self.cut(scan, next));
            }
        }
        Ok(Part { end: scan.end, next: scan.next, state: State::Whole })
    }

    /// Finds the end of the line with the mistake, if the next record has a mistake.
    fn trouble_after(&self, scan: &Scan) -> Result<Option<usize>, Unfinished> {
        let next = after_line_ends(self.bytes, scan.next);
        let at_end = next == self.bytes.len() && self.bounds.rest != Rest::More;
        if self.bounds.ahead == Ahead::No || at_end {
            return Ok(None);
        }
        let following = match self.scan(next) {
            Err(Unfinished) if self.bounds.ahead == Ahead::IfThere => return Ok(None),
            scan => scan?,
        };
        let is_cut = self.bounds.rest == Rest::TooMuch && following.next == self.bytes.len();
        if is_cut || self.form.is_sound(&following) {
            return Ok(None);
        }
        let never_closed = following.flaw.is_some_and(|flaw| flaw.what == What::NeverClosed);
        let first_line = following.crossings.first().map_or(following.next, |crossing| crossing.goes_on);
        Ok(Some(if never_closed { first_line } else { following.next }))
    }

    fn damaged(&self, begins: usize, scan: &Scan, flaw: Flaw) -> Result<Part, Unfinished> {
        // The flaw itself may show that the quote above it is a mistake.
        let opening = self.opening(scan, flaw);
        let never_closed = flaw.what == What::NeverClosed;
        if let (Some(first), Some(last)) = (scan.crossings.first(), scan.crossings.last()) {
            let near = (last.goes_on, last.goes_on + 1);
            let line = self.line_start(flaw.at);
            let searches = match opening {
                _ if never_closed => [Some(near), None],
                Some(_) => [Some(near), Some((line, line + 1))],
                None => [Some((scan.end, scan.next)), None],
            };
            for (at_most, to) in searches.into_iter().flatten() {
                if let Some(next) = self.resumes(first.goes_on, at_most, to)? {
                    return Ok(self.cut(scan, next));
                }
            }
            if never_closed || opening == Some(Opening::Cell) {
                return Ok(self.cut(scan, last.goes_on));
            }
        }
        let (mut end, mut next) = (scan.end, scan.next);
        if !never_closed {
            // The rest of the record may continue over lines as well.
            let whole = self.form.syntax.scan_leniently(self.bytes, begins, self.bounds.rest)?;
            if whole.flaw.is_none() && whole.next > next && self.no_record(next, whole.next)?.is_some() {
                (end, next) = (whole.end, whole.next);
            }
        }
        Ok(Part { end, next, state: State::Damaged(flaw) })
    }

    /// Finds the kind of cell that the quote before the flaw opens. That quote closes a cell of several lines, unless
    /// the opening quote of that cell is a mistake.
    fn opening(&self, scan: &Scan, flaw: Flaw) -> Option<Opening> {
        let crosses = scan.crossings.last().is_some_and(|crossing| crossing.opened == flaw.cell);
        if flaw.what != What::TextAfterQuote || !crosses {
            return None;
        }
        let before = self.bytes.get(flaw.cell + 1..flaw.at)?;
        match before.iter().rev().find(|byte| **byte != b'"')? {
            byte if *byte == self.form.syntax.delimiter => Some(Opening::Cell),
            byte => is_line_end(*byte).then_some(Opening::Line),
        }
    }

    /// Ends a record before `next`, because a quote took lines into it that are not its own.
    fn cut(&self, scan: &Scan, next: usize) -> Part {
        let before = self.bytes.get(..next).unwrap_or_default();
        let at = scan.crossings.iter().rfind(|crossing| crossing.opened < next).map_or(0, |it| it.opened);
        let end = before.iter().rposition(|byte| !is_line_end(*byte)).map_or(at, |last| last + 1);
        let flaw = Flaw { what: What::NeverClosed, at, cell: at };
        Part { end, next, state: State::Damaged(flaw) }
    }

    /// Finds the first line, from `from` to `last`, from which on there are whole records up to `to`.
    fn resumes(&self, from: usize, last: usize, to: usize) -> Result<Option<usize>, Unfinished> {
        let mut at = from;
        for _ in 0..MOST_LINES {
            if at > last {
                break;
            }
            match self.no_record(at, to)? {
                None => return Ok(Some(at)),
                Some(bad) => at = line_end(self.bytes, bad, self.bounds.rest)?.1,
            }
        }
        Ok(None)
    }

    fn line_start(&self, at: usize) -> usize {
        let before = self.bytes.get(..at).unwrap_or_default();
        before.iter().rposition(|byte| is_line_end(*byte)).map_or(0, |end| end + 1)
    }

    /// Finds the first place without a whole record, from one place to another.
    fn no_record(&self, from: usize, to: usize) -> Result<Option<usize>, Unfinished> {
        let mut at = from;
        loop {
            at = after_line_ends(self.bytes, at);
            if at == self.bytes.len() && at < to && self.bounds.rest == Rest::More {
                return Err(Unfinished);
            }
            if at >= to || at == self.bytes.len() {
                return Ok(None);
            }
            let scan = self.scan(at)?;
            if self.bounds.rest == Rest::TooMuch && scan.next == self.bytes.len() {
                return Ok(None);
            }
            if !self.form.is_sound(&scan) {
                return Ok(Some(at));
            }
            at = scan.next;
        }
    }

    fn scan(&self, from: usize) -> Result<Scan, Unfinished> {
        self.form.syntax.scan(self.bytes, from, self.bounds.rest)
    }
}

fn after_line_ends(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| is_line_end(**byte)).count()
}
