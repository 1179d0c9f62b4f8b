//! Tests the progress of a run: the program on a terminal, and the screen of that terminal.
#![cfg(unix)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ergon_tests::crew::{PATIENCE, Site};
use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use vt100::Parser;

const ROWS: u16 = 24;
/// The key, as a terminal sends it.
const CTRL_C: u8 = 3;

/// A terminal, and the program that has it.
struct Terminal {
    child: Child,
    pty: Arc<Pty>,
    columns: u16,
    shown: Arc<Mutex<Parser>>,
    reading: JoinHandle<()>,
}

/// The content of a terminal.
#[derive(Debug)]
struct Shown {
    /// The rows of the screen.
    rows: Vec<String>,
    /// All lines that were shown and not removed again. A line may take several rows.
    lines: Vec<String>,
}

impl Terminal {
    /// Starts a program on its own terminal of this width.
    fn start(mut command: std::process::Command, columns: u16) -> Self {
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        let (pty, inside) = open().unwrap();
        pty.resize(Size::new(ROWS, columns)).unwrap();
        let child = Command::from(command).spawn(inside).unwrap();
        let size = |cells: u16| NonZeroU16::new(cells).unwrap();
        let shown = Arc::new(Mutex::new(Parser::new(size(ROWS), size(columns), 10_000)));
        let (pty, screen) = (Arc::new(pty), Arc::clone(&shown));
        let written = Arc::clone(&pty);
        let reading = thread::spawn(move || {
            let mut piece = [0; 4096];
            // On Linux the end of a terminal is an error.
            while let Ok(count @ 1..) = (&*written).read(&mut piece) {
                screen.lock().unwrap().process(&piece[..count]);
            }
        });
        Self { child, pty, columns, shown, reading }
    }

    fn press(&self, key: u8) {
        (&*self.pty).write_all(&[key]).unwrap();
    }

    /// The current content of the terminal.
    fn shown(&self) -> Shown {
        let mut parser: MutexGuard<'_, Parser> = self.shown.lock().unwrap();
        let screen = parser.screen_mut();
        let mut lines = vec![String::new()];
        let depth = screen.scrollback_len();
        for above in (0..=depth).rev() {
            screen.set_scrollback(above);
            // When the screen is scrolled back, only its topmost row is new.
            let new = if above > 0 { 1 } else { ROWS };
            let rows: Vec<String> = screen.rows(0, self.columns).take(new.into()).collect();
            for (row, at) in rows.iter().zip(0..) {
                lines.last_mut().unwrap().push_str(row);
                // A bar ends at the right edge, so it looks as if it continued in the next row.
                if !screen.row_wrapped(at) || Bar::of(row).is_some() {
                    lines.push(String::new());
                }
            }
        }
        lines.retain(|line| !line.trim().is_empty());
        let rows = screen.rows(0, self.columns).map(|row| row.trim_end().to_owned()).collect();
        Shown { rows, lines }
    }

    /// Waits until the terminal shows something.
    fn until(&self, what: &str, holds: impl Fn(&Shown) -> bool) -> Shown {
        let began = Instant::now();
        loop {
            let shown = self.shown();
            if holds(&shown) {
                return shown;
            }
            assert!(began.elapsed() < PATIENCE, "not in time: {what}; {shown:#?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end. Returns the exit code, and the final content of the terminal.
    fn end(mut self) -> (Option<i32>, Shown) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end: {:#?}", self.shown());
            thread::sleep(Duration::from_millis(5));
        };
        while !self.reading.is_finished() {
            assert!(began.elapsed() < PATIENCE, "somebody holds the terminal: {:#?}", self.shown());
            thread::sleep(Duration::from_millis(5));
        }
        assert!(!self.shown.lock().unwrap().screen().hide_cursor(), "the cursor is there again");
        (status.code(), self.shown())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The process has ended, or has to end now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The row of a running task: `lines 20/48 [=====>      ] ...`.
#[derive(Debug, PartialEq, Eq)]
struct Bar {
    task: String,
    done: u64,
    total: u64,
}

impl Bar {
    fn of(row: &str) -> Option<Self> {
        let (head, _) = row.split_once(" [")?;
        let (task, counts) = head.split_once(' ')?;
        let (done, total) = counts.split_once('/')?;
        Some(Self { task: task.to_owned(), done: done.parse().ok()?, total: total.parse().ok()? })
    }
}

impl Shown {
    /// Whether both tasks have processed this many, and the screen ends with one row for each task and has no other
    /// such row.
    fn ends_with_bars(&self, done: u64, total: u64) -> bool {
        let rows: Vec<_> = self.rows.iter().filter(|row| !row.is_empty()).collect();
        let (above, last) = rows.split_at(rows.len().saturating_sub(2));
        let bars: Vec<_> = last.iter().filter_map(|row| Bar::of(row)).collect();
        let bar = |task: &str| Bar { task: task.to_owned(), done, total };
        bars == [bar("lines"), bar("threads")] && above.iter().all(|row| Bar::of(row).is_none())
    }

    /// Removes the complete lines of the log, and returns the numbers of the lines that they report.
    fn logged(&mut self) -> BTreeSet<u64> {
        let mut logged = BTreeSet::new();
        self.lines.retain(|line| {
            let Some((time, said)) = line.split_once(" INFO  ") else { return true };
            let number = said.split(['=', ':', ' ']).find_map(|word| word.parse::<u64>().ok()).unwrap();
            let worker = (number - 1) % 2;
            let whole = format!(
                "at work task=lines transaction_id=lines.jsonl:{number} step=process attempt=1 worker={worker}"
            );
            assert_eq!((time.len(), said), ("2026-11-21T16:40:55.304Z".len(), &*whole), "{line:?}");
            assert!(logged.insert(number), "twice: {line:?}");
            false
        });
        logged
    }

    /// The lines with one space between words, and without times, which differ from run to run.
    fn timeless(&self) -> Vec<String> {
        let word = |word: &str| {
            let bare = word.trim_matches(['(', ')', ';', '.']);
            let kind = match bare.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.') {
                unit if unit == bare => return word.to_owned(),
                "ns" | "us" | "ms" | "s" => "TIME",
                "/s" => "RATE",
                _ => return word.to_owned(),
            };
            word.replace(bare, kind)
        };
        let line = |line: &String| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
        self.lines.iter().map(line).collect()
    }
}

/// The program with two tasks and two workers for each; both work on these lines.
fn start(site: &Site, does: &[&[&'static str]], columns: u16) -> Terminal {
    site.lines(does.concat());
    Terminal::start(site.command(&["run", "lines", "threads", "--workers", "2"]), columns)
}

fn site() -> Site {
    let grace = |task: &str| format!("[tasks.{task}.consumer]\nshutdown_grace = \"500ms\"\n");
    let settings = format!("{}{}", grace("lines"), grace("threads"));
    Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, &settings)
}

/// The lines that remain of a run of both tasks, in addition to the log. `more` are lines of the second task alone.
fn summary(done: u64, why: &str, both: &[&str], more: &[&str]) -> Vec<String> {
    let warning = |task: &str| {
        format!(
            "warning: {task}: rejected transactions are only listed in the summary; to keep them, add a connector and \
             name it: `consumer(dead_letter = ...)`"
        )
    };
    let of = |task: &str, more: &[&str]| {
        let counts = [
            format!("{task}: {done} transactions processed in TIME (RATE). {why}"),
            format!("{done} succeeded."),
        ];
        let times = ["process", "success"].map(|step| format!("{step} {done} TIME TIME TIME TIME"));
        let table = ["2 workers.", "step count p50 p95 p99 max"].map(str::to_owned);
        let figures = both.iter().chain(more).map(|line| (*line).to_owned());
        counts.into_iter().chain(figures).chain(table).chain(times).collect::<Vec<_>>()
    };
    let warnings = vec![warning("lines"), warning("threads")];
    [warnings, of("lines", &[]), of("threads", more)].concat()
}

#[test]
fn each_task_has_one_row_below_the_log_and_none_in_the_end() {
    for columns in [80, 40] {
        let site = site();
        let terminal = start(&site, &[&["nothing"; 20], &["gate"; 8], &["nothing"; 20]], columns);
        // Both slots of each worker have a line that waits.
        let mut waiting = terminal.until("24 lines in the log", |shown| {
            shown.ends_with_bars(20, 48) && shown.lines.iter().any(|line| line.contains(":24 "))
        });
        let logged = waiting.logged();
        assert!(logged.iter().copied().eq(1..=24), "{logged:?}");
        site.write("gate", "");
        let (code, mut shown) = terminal.end();
        let logged = shown.logged();
        assert!(logged.iter().copied().eq(1..=48), "{logged:?}");
        assert_eq!((code, shown.timeless()), (Some(0), summary(48, "The source is empty.", &[], &[])));
    }
}

#[test]
fn the_numbers_grow_and_ctrl_c_leaves_a_clean_screen() {
    for columns in [80, 40] {
        let site = site();
        let lines: [&[&str]; 4] = [&["nothing"; 20], &["gate"; 8], &["nothing"; 20], &["hang"; 2]];
        let terminal = start(&site, &lines, columns);
        terminal.until("20 are done", |shown| shown.ends_with_bars(20, 50));
        site.write("gate", "");
        terminal.until("48 are done", |shown| shown.ends_with_bars(48, 50));
        terminal.press(CTRL_C);
        let (code, mut shown) = terminal.end();
        let logged = shown.logged();
        assert!(logged.iter().copied().eq(1..=50), "{logged:?}");
        let given_back = "2 were given back to the source.";
        let abandoned = "2 threads are abandoned: their handlers have not returned.";
        let mut left = summary(48, "The run was stopped.", &[given_back], &[abandoned]);
        let stopping = "stopping: draining 4 workers (up to TIME); press Ctrl-C again to stop immediately";
        left.insert(2, stopping.to_owned());
        assert_eq!((code, shown.timeless()), (Some(130), left));
    }
}

#[test]
fn a_terminal_that_is_closed_drains_the_run() {
    for (workers, in_flight) in [("1", 2), ("2", 4)] {
        let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::from_millis(20), "");
        site.lines((0..200).map(|n| if n < 4 { "gate" } else { "nothing" }));
        let command = site.command(&["run", "lines", "--workers", workers, "--quiet"]);
        let (terminal, inside) = open().unwrap();
        let mut child = Command::from(command).spawn(inside).unwrap();
        site.until_entries(in_flight);
        // The system sends a hangup to all processes of the terminal, to the supervisor and to the workers.
        drop(terminal);
        site.write("gate", "");
        assert_eq!(child.wait().unwrap().code(), Some(129), "{workers}");
        let counts = site.counts();
        assert!(counts.values().all(|count| *count == (1, 1)) && counts.len() < 200, "{counts:?}");
    }
}
