//! The worker's end of the line to its supervisor.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use super::address;
use super::message::{Message, Order};
use crate::runner::WorkerIdentity;
use crate::runner::stopping::Reason;
use crate::task::{Claim, Draw, Grant, Mark, Quota};

/// How long it tries to write how it goes: a supervisor that is held up must not hold up the work.
const WRITE_WITHIN: Duration = Duration::from_millis(20);

/// The line to the supervisor; cloning it is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Link(Arc<Ends>);

#[derive(Debug)]
struct Ends {
    /// What is to be written, in order. Its lock is never held while anything is written.
    queue: Mutex<Queue>,
    line: Mutex<Line>,
    /// How many bytes have left the process; `u64::MAX` once nobody reads them. Wakes the loops that wait for a report.
    written: watch::Sender<u64>,
    drawing: Mutex<Drawing>,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// How many there ever were.
    put: u64,
}

#[derive(Debug)]
struct Line {
    stream: UnixStream,
    /// For how long a write waits, as the system knows it; for ever if none.
    within: Option<Duration>,
    /// What could not be written yet.
    rest: Vec<u8>,
    /// How many bytes are written.
    written: u64,
    /// Whether no one reads what is written.
    broken: bool,
}

/// Who hears what is granted, by the number of the loop.
#[derive(Default)]
struct Drawing {
    loops: HashMap<u64, Heed>,
    next: u64,
}

type Heed = Arc<dyn Fn(Grant) + Send + Sync>;

impl fmt::Debug for Drawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drawing").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Link {
    /// Joins the supervisor that started this process. When the supervisor ends, however it ends, this process is
    /// told to stop.
    ///
    /// # Errors
    /// Why it cannot be reached; it may be gone.
    pub(crate) fn join(identity: &WorkerIdentity, orders: UnboundedSender<Reason>) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
        // It may have died before the line above: then this process has another parent by now.
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        if parent != Some(identity.supervisor) {
            return Err(io::Error::other("the supervisor that started this worker is gone"));
        }
        let stream = address::connect(&identity.address)?;
        let heard = stream.try_clone()?;
        let link = Self::over(stream);
        let granted = link.clone();
        let listens = move || {
            granted.heed_all(heard);
            orphaned(&orders);
        };
        thread::Builder::new().name("ergon-parent".to_owned()).spawn(listens)?;
        Ok(link)
    }

    fn over(stream: UnixStream) -> Self {
        // None is what the system begins with.
        let line = Line { stream, within: None, rest: Vec::new(), written: 0, broken: false };
        let (queue, written, drawing) = (Mutex::default(), watch::Sender::new(0), Mutex::default());
        Self(Arc::new(Ends { queue, line: Mutex::new(line), written, drawing }))
    }

    /// Tells the supervisor, as soon as it listens. How it goes is left out while it does not.
    pub(crate) fn send(&self, message: &Message) {
        if !matches!(message, Message::Progress { .. }) || self.is_idle() {
            self.0.put(message);
        }
        self.0.write(Some(WRITE_WITHIN));
    }

    /// Tells the supervisor the last there is to tell, and waits until that is told; not if it is gone.
    pub(crate) fn finish(&self, message: &Message) {
        self.0.put(message);
        self.0.write(None);
    }

    /// Whether every message so far has left the process.
    fn is_idle(&self) -> bool {
        self.0.written() >= self.0.queue().put
    }

    /// Passes on what the supervisor grants, until it hangs up.
    fn heed_all(&self, stream: UnixStream) {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            if let Ok(Order { draw, grant }) = serde_json::from_str(&line) {
                let heed = self.0.drawing().loops.get(&draw).cloned();
                if let Some(heed) = heed {
                    heed(grant);
                }
            }
        }
    }
}

impl Quota for Link {
    fn draw(&self, limit: u64, heed: Box<dyn Fn(Grant) + Send + Sync>) -> Box<dyn Draw> {
        let number = {
            let mut drawing = self.0.drawing();
            let number = drawing.next;
            drawing.next += 1;
            drawing.loops.insert(number, heed.into());
            number
        };
        self.send(&Message::Draws { draw: number, limit });
        Box::new(Drawn { link: self.clone(), number })
    }
}

/// One loop that draws on a limit.
#[derive(Debug)]
struct Drawn {
    link: Link,
    number: u64,
}

impl Draw for Drawn {
    fn claim(&self, claim: Claim) -> Mark {
        Mark(self.link.0.put(&Message::Claims { draw: self.number, claim }))
    }

    fn send(&self) {
        self.link.0.write(Some(WRITE_WITHIN));
    }

    fn sent(&self, Mark(mark): Mark) -> BoxFuture<'_, ()> {
        let (ends, mut written) = (Arc::clone(&self.link.0), self.link.0.written.subscribe());
        Box::pin(async move {
            ends.write(Some(WRITE_WITHIN));
            if ends.written() < mark {
                ends.write_apart();
                // It fails only when the sender is dropped, and `ends` holds the sender.
                let _ = written.wait_for(|written| *written >= mark).await;
            }
        })
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        drop(self.link.0.drawing().loops.remove(&self.number));
        self.link.send(&Message::Leaves { draw: self.number });
    }
}

impl Ends {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drawing(&self) -> MutexGuard<'_, Drawing> {
        self.drawing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message in the queue; returns how many bytes there were up to its end.
    fn put(&self, message: &Message) -> u64 {
        let mut queue = self.queue();
        // Plain data can always be written down.
        if let Ok(text) = serde_json::to_vec(message) {
            queue.put += text.len() as u64 + 1;
            queue.bytes.extend(text);
            queue.bytes.push(b'\n');
        }
        queue.put
    }

    /// How many bytes have left the process.
    fn written(&self) -> u64 {
        *self.written.borrow()
    }

    /// Writes what is in the queue, for at most so long. Where another thread is writing, that thread writes it.
    fn write(&self, within: Option<Duration>) {
        loop {
            let line = match (within, self.line.try_lock()) {
                (_, Ok(line)) => line,
                (_, Err(TryLockError::Poisoned(poisoned))) => poisoned.into_inner(),
                (None, Err(TryLockError::WouldBlock)) => self.line(),
                // A thread that may wait for long holds the line.
                (Some(_), Err(TryLockError::WouldBlock)) => return,
            };
            let is_full = self.write_to(line, within);
            // A message may have come while the line was held: whoever put it found the line taken, and left.
            if is_full || self.queue().bytes.is_empty() {
                return;
            }
        }
    }

    /// Returns whether the socket is full.
    fn write_to(&self, mut line: MutexGuard<'_, Line>, within: Option<Duration>) -> bool {
        line.rest.append(&mut self.queue().bytes);
        line.write(within);
        // Reported under the lock, so that the count never goes back. A supervisor that is gone is noticed elsewhere:
        // nobody has to wait for it here.
        let written = if line.broken { u64::MAX } else { line.written };
        self.written.send_if_modified(|known| std::mem::replace(known, written) != written);
        !line.rest.is_empty()
    }

    /// Writes what is in the queue on a thread that waits for the supervisor as long as it takes.
    fn write_apart(self: &Arc<Self>) {
        let ends = Arc::clone(self);
        let write = move || ends.write(None);
        // Without a thread to spare, the next report of the run's progress writes the rest, a moment later.
        let _ = thread::Builder::new().name("ergon-report".to_owned()).spawn(write);
    }
}

impl Line {
    fn write(&mut self, within: Option<Duration>) {
        if self.rest.is_empty() {
            return;
        }
        if self.within != within {
            self.broken |= self.stream.set_write_timeout(within).is_err();
            self.within = within;
        }
        while !self.rest.is_empty() && !self.broken {
            match self.stream.write(&self.rest) {
                Ok(count) => {
                    drop(self.rest.drain(..count));
                    self.written += count as u64;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => (),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return,
                    _ => self.broken = true,
                },
            }
        }
        if self.broken {
            // Nobody will read it.
            self.rest.clear();
        }
    }
}

/// The supervisor is gone.
fn orphaned(orders: &UnboundedSender<Reason>) {
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
    use std::sync::mpsc;

    use futures_util::FutureExt;

    use super::*;

    fn progress() -> Message {
        let vitals = crate::runner::watch::Vitals::default();
        Message::Progress { tally: Box::default(), in_flight: 1, vitals, metrics: None }
    }

    fn is_sent(drawn: &dyn Draw, mark: Mark) -> bool {
        drawn.send();
        drawn.sent(mark).now_or_never().is_some()
    }

    fn hear(there: UnixStream) -> thread::JoinHandle<Vec<Message>> {
        thread::spawn(move || {
            let lines = BufReader::new(there).lines().map_while(Result::ok);
            lines.map(|line| serde_json::from_str::<Message>(&line).unwrap()).collect()
        })
    }

    #[test]
    fn a_supervisor_that_does_not_listen_holds_nobody_up_and_hears_whole_lines_later() {
        let (here, there) = UnixStream::pair().unwrap();
        let link = Link::over(here);
        // More than a socket holds.
        while link.is_idle() {
            link.send(&progress());
        }
        link.send(&progress());
        let heard = hear(there);
        link.finish(&Message::Begun { total: Some(7) });
        drop(link);
        let heard = heard.join().unwrap();
        assert!(heard.len() > 10 && matches!(heard.last(), Some(Message::Begun { total: Some(7) })));
    }

    #[tokio::test]
    async fn what_is_claimed_counts_as_sent_when_it_has_left_the_process() {
        let (here, there) = UnixStream::pair().unwrap();
        let link = Link::over(here);
        let drawn = link.draw(10, Box::new(drop));
        while link.is_idle() {
            link.send(&progress());
        }
        let mark = drawn.claim(Claim { taken: 3, ..Claim::default() });
        assert!(!is_sent(&*drawn, mark), "the line is full");
        let heard = hear(there);
        // Nothing else is sent meanwhile: the report that waits is written as soon as the supervisor reads.
        drawn.sent(mark).await;
        drop((drawn, link));
        let heard = heard.join().unwrap();
        let [.., Message::Claims { draw: 0, claim }, Message::Leaves { draw: 0 }] = &heard[..] else {
            panic!("{:?}", heard.last())
        };
        assert_eq!(claim.taken, 3);
    }

    #[test]
    fn a_supervisor_that_is_gone_holds_nobody_up() {
        let (here, there) = UnixStream::pair().unwrap();
        let link = Link::over(here);
        let drawn = link.draw(10, Box::new(drop));
        drop(there);
        let mark = drawn.claim(Claim::default());
        assert!(is_sent(&*drawn, mark));
    }

    #[test]
    fn each_loop_hears_what_it_is_granted() {
        let (here, there) = UnixStream::pair().unwrap();
        let (link, heard) = (Link::over(here.try_clone().unwrap()), mpsc::channel());
        let draw = |number| {
            let heard = heard.0.clone();
            link.draw(10, Box::new(move |grant| heard.send((number, grant)).unwrap()))
        };
        let (gone, _here) = (draw(0), draw(1));
        drop(gone);
        let orders = [(0, Grant::UsedUp), (1, Grant::More(4)), (1, Grant::Recall), (7, Grant::Recall)];
        for (draw, grant) in orders {
            writeln!(&there, "{}", serde_json::to_string(&Order { draw, grant }).unwrap()).unwrap();
        }
        there.shutdown(std::net::Shutdown::Write).unwrap();
        link.heed_all(here);
        drop(heard.0);
        assert_eq!(heard.1.try_iter().collect::<Vec<_>>(), [(1, Grant::More(4)), (1, Grant::Recall)]);
    }
}
