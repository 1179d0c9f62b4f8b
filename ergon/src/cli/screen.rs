//! Draws progress bars on the terminal, and keeps its cursor at the start of a row.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;
use indicatif::{ProgressDrawTarget, TermLike};

/// The maximum number of drawings per second.
const HERTZ: u8 = 10;

/// The target of the bars: standard error if it is a terminal, otherwise none.
pub(super) fn bars() -> ProgressDrawTarget {
    let terminal = Term::buffered_stderr();
    if !terminal.is_term() {
        return ProgressDrawTarget::hidden();
    }
    ProgressDrawTarget::term_like_with_hz(
        Box::new(Screen { terminal, written: AtomicBool::new(false) }),
        HERTZ,
    )
}

/// A terminal whose cursor is at the start of a row after each drawing.
///
/// A bar ends at the right edge. There the `^C` of a key press would start a new row, and the bar above it would never be
/// removed.
#[derive(Debug)]
struct Screen {
    terminal: Term,
    /// Whether something was written since the last flush.
    written: AtomicBool,
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        TermLike::width(&self.terminal)
    }

    fn height(&self) -> u16 {
        TermLike::height(&self.terminal)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.terminal.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.terminal.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.terminal.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.terminal.move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.terminal.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.written.store(true, Ordering::Relaxed);
        self.terminal.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.terminal.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        if self.written.swap(false, Ordering::Relaxed) {
            self.terminal.write_str("\r")?;
        }
        self.terminal.flush()
    }
}
