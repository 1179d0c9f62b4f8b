//! Writes the output of commands: data to standard output, messages to standard error. No other code prints.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::MultiProgress;

use super::args::Colour;
use super::humanize;
use super::screen;
use crate::error::{Error, ErrorKind};
use crate::settings::{Problems, no_colour};

/// Writes to both streams; cloning it is cheap.
#[derive(Clone)]
pub(crate) struct Output(Arc<Inner>);

struct Inner {
    data: Mutex<Box<dyn Write + Send>>,
    talk: Mutex<Box<dyn Write + Send>>,
    /// The bars at the bottom of the terminal; every line is written above them.
    bars: MultiProgress,
    quiet: bool,
    colour: bool,
}

impl Output {
    /// Writes to the streams of the process.
    pub(crate) fn of_process(quiet: bool, colour: Colour) -> Self {
        let terminal = io::stderr().is_terminal();
        let colour = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && !no_colour(),
        };
        let bars = MultiProgress::with_draw_target(screen::bars());
        Self(Arc::new(Inner {
            data: Mutex::new(Box::new(io::stdout())),
            talk: Mutex::new(Box::new(io::stderr())),
            bars,
            quiet,
            colour,
        }))
    }

    /// Writes data.
    ///
    /// # Errors
    /// A full disk, for example. A closed pipe is not an error: the rest is dropped.
    pub(crate) fn data(&self, text: &str) -> Result<(), Error> {
        let mut data = self.0.data.lock().unwrap_or_else(PoisonError::into_inner);
        match self.0.bars.suspend(|| data.write_all(text.as_bytes()).and_then(|()| data.flush())) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                let what = format!("cannot write to standard output: {error}");
                Err(Error::new(ErrorKind::Task, what))
            }
            _ => Ok(()),
        }
    }

    /// Writes a message, unless the output is quiet.
    pub(crate) fn talk(&self, text: &str) {
        if !self.0.quiet {
            self.write(text);
        }
    }

    /// Writes a warning.
    pub(crate) fn warn(&self, text: &str) {
        self.write(&format!("{}: {text}\n", self.paint("33;1", "warning")));
    }

    /// Writes an error with its causes and its hint.
    pub(crate) fn error(&self, error: &Error) {
        let label = self.paint("31;1", "error");
        self.write(&describe(error, &label));
    }

    /// Writes whole lines above the bars.
    pub(crate) fn write(&self, text: &str) {
        let mut talk = self.0.talk.lock().unwrap_or_else(PoisonError::into_inner);
        // An error of standard error cannot be reported anywhere.
        let _ = self.0.bars.suspend(|| talk.write_all(text.as_bytes()).and_then(|()| talk.flush()));
    }

    /// The bars at the bottom of the terminal.
    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.0.bars
    }

    /// Returns whether messages are in colour.
    pub(crate) fn colour(&self) -> bool {
        self.0.colour
    }

    /// Returns whether only warnings and errors are written.
    pub(crate) fn quiet(&self) -> bool {
        self.0.quiet
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.0.colour { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// An error in full: each problem of the settings with its line, any other error with its causes and its hint.
fn describe(error: &Error, label: &str) -> String {
    let source = std::error::Error::source(error);
    if let Some(problems) = source.and_then(|source| source.downcast_ref::<Problems>()) {
        let shown =
            problems.iter().map(|problem| format!("{label}: {}\n{}", problem.headline(), problem.details()));
        return shown.collect();
    }
    let mut text = format!("{label}: {}\n", humanize::set_in(&error.to_string()));
    for cause in std::iter::successors(source, |cause| cause.source()) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, " = because: {}", humanize::set_in(&cause.to_string()));
    }
    if let Some(hint) = error.hint() {
        let _ = writeln!(text, " = hint: {}", humanize::set_in(hint));
    }
    text
}

#[cfg(test)]
pub(crate) mod captured {
    //! Streams whose content a test can read.

    use indicatif::ProgressDrawTarget;

    use super::*;

    /// The text that was written.
    #[derive(Clone, Default)]
    pub(crate) struct Captured {
        pub(crate) data: Stream,
        pub(crate) talk: Stream,
    }

    #[derive(Clone, Default)]
    pub(crate) struct Stream(Arc<Mutex<Vec<u8>>>);

    impl Stream {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Stream {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Captured {
        pub(crate) fn output(&self, quiet: bool) -> Output {
            self.painted(quiet, false)
        }

        pub(crate) fn painted(&self, quiet: bool, colour: bool) -> Output {
            Output(Arc::new(Inner {
                data: Mutex::new(Box::new(self.data.clone())),
                talk: Mutex::new(Box::new(self.talk.clone())),
                bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
                quiet,
                colour,
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_causes_and_hint() {
        let error = Error::new(ErrorKind::Connector, "connector `input` (csv): cannot open")
            .with_source("no such file")
            .with_hint("see `path`");
        assert_eq!(
            describe(&error, "error"),
            "error: connector `input` (csv): cannot open\n = because: no such file\n = hint: see `path`\n"
        );
    }

    #[test]
    fn what_others_say_in_an_error_steers_no_terminal() {
        let error = Error::new(ErrorKind::Connector, "fetch: \u{1b}[2J\nerror: fake").with_source("a\u{7}b");
        assert_eq!(describe(&error, "error"), "error: fetch:  [2J\n   error: fake\n = because: a b\n");
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let captured = captured::Captured::default();
        let output = captured.output(false);
        *output.0.data.lock().unwrap() = Box::new(Closed);
        assert!(output.data("text").is_ok());
    }
}
