//! The terminal that bars are drawn on.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;
use indicatif::{ProgressDrawTarget, TermLike};

/// How often a second bars are drawn at most.
const HERTZ: u8 = 10;

/// Where bars are drawn: on standard error if that is a terminal, else nowhere.
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

/// A terminal whose cursor stands at the beginning of a row after each drawing.
///
/// A bar ends at the right edge. There the `^C` of a key press would begin a new row, and the bar above it would never be
/// taken away.
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
