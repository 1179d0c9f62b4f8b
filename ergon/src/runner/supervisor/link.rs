//! The worker's end of the line to its supervisor.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::address;
use super::message::Message;
use crate::runner::Seat;
use crate::runner::stopping::Reason;

/// How long it tries to write how it goes: a supervisor that is held up must not hold up the work.
const WRITE_WITHIN: Duration = Duration::from_millis(20);

/// The line to the supervisor.
#[derive(Debug)]
pub(crate) struct Link(Mutex<Line>);

#[derive(Debug)]
struct Line {
    stream: UnixStream,
    /// What could not be written yet.
    rest: Vec<u8>,
}

impl Link {
    /// Joins the supervisor that started this process. When the supervisor ends, however it ends, this process is
    /// told to stop.
    ///
    /// # Errors
    /// Why it cannot be reached; it may be gone.
    pub(crate) fn join(seat: &Seat, orders: UnboundedSender<Reason>) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
        // It may have died before the line above: then this process has another parent by now.
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        if parent != Some(seat.supervisor) {
            return Err(io::Error::other("the supervisor that started this worker is gone"));
        }
        let stream = address::connect(&seat.address)?;
        let heard = stream.try_clone()?;
        thread::Builder::new().name("ergon-parent".to_owned()).spawn(move || watch(heard, &orders))?;
        Ok(Self(Mutex::new(Line { stream, rest: Vec::new() })))
    }

    /// Tells the supervisor, as soon as it listens. How it goes is left out while it does not.
    pub(crate) fn send(&self, message: &Message) {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if line.rest.is_empty() || !matches!(message, Message::Progress { .. }) {
            line.push(message);
        }
        line.write(Some(WRITE_WITHIN));
    }

    /// Tells the supervisor the last there is to tell, and waits until that is told; not if it is gone.
    pub(crate) fn finish(&self, message: &Message) {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.push(message);
        line.write(None);
    }
}

impl Line {
    fn push(&mut self, message: &Message) {
        // Plain data can always be written down.
        let Ok(text) = serde_json::to_vec(message) else { return };
        self.rest.extend(text);
        self.rest.push(b'\n');
    }

    /// Writes what there is, for at most so long; what cannot be told to one that is gone is noticed elsewhere.
    fn write(&mut self, within: Option<Duration>) {
        if self.stream.set_write_timeout(within).is_err() {
            return;
        }
        while !self.rest.is_empty() {
            match self.stream.write(&self.rest) {
                Ok(count) => drop(self.rest.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(_) => return,
            }
        }
    }
}

/// Waits for the end of the supervisor, which says nothing.
fn watch(mut stream: UnixStream, orders: &UnboundedSender<Reason>) {
    let mut nothing = [0];
    loop {
        match stream.read(&mut nothing) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Ok(1) => (),
            Ok(_) | Err(_) => break,
        }
    }
    // If it read our standard error, nobody does now: a handler that writes there must not fail of it.
    let piped = io::stderr().as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata());
    if piped.is_ok_and(|file| file.file_type().is_fifo())
        && let Ok(nowhere) = File::options().write(true).open("/dev/null")
    {
        let _ = rustix::stdio::dup2_stderr(nowhere);
    }
    // Nobody listens when the run is over already.
    let _ = orders.send(Reason::Orphaned);
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;

    #[test]
    fn a_supervisor_that_does_not_listen_holds_nobody_up_and_hears_whole_lines_later() {
        let (here, there) = UnixStream::pair().unwrap();
        let link = Link(Mutex::new(Line { stream: here, rest: Vec::new() }));
        let progress = || Message::Progress {
            tally: Box::default(),
            in_flight: 1,
            vitals: crate::runner::watch::Vitals::default(),
            metrics: None,
        };
        // More than a socket holds.
        while link.0.lock().unwrap().rest.is_empty() {
            link.send(&progress());
        }
        link.send(&progress());
        let heard = thread::spawn(move || {
            let lines = BufReader::new(there).lines().map_while(Result::ok);
            lines.map(|line| serde_json::from_str::<Message>(&line).unwrap()).collect::<Vec<_>>()
        });
        link.finish(&Message::Begun { total: Some(7) });
        drop(link);
        let heard = heard.join().unwrap();
        assert!(heard.len() > 10 && matches!(heard.last(), Some(Message::Begun { total: Some(7) })));
    }
}
