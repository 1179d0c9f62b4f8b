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

/// How long a line may take to be written: a supervisor that is held up must not hold up the work.
const WRITE_WITHIN: Duration = Duration::from_millis(300);

/// The line to the supervisor; broken for good after the first failure, so that no half line is followed by another.
#[derive(Debug)]
pub(crate) struct Link(Mutex<Option<UnixStream>>);

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
        stream.set_write_timeout(Some(WRITE_WITHIN))?;
        let heard = stream.try_clone()?;
        thread::Builder::new().name("ergon-parent".to_owned()).spawn(move || watch(heard, &orders))?;
        Ok(Self(Mutex::new(Some(stream))))
    }

    /// Tells the supervisor; if it cannot be told, it is gone, and that is noticed elsewhere.
    pub(crate) fn send(&self, message: &Message) {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(mut line) = serde_json::to_vec(message) else { return };
        line.push(b'\n');
        if stream.as_mut().is_some_and(|stream| stream.write_all(&line).is_err()) {
            *stream = None;
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
