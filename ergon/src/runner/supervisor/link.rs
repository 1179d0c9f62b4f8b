//! Connects a worker to its supervisor: sends the worker's reports without waiting for the supervisor, and receives
//! grants.

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

/// How long a worker tries to write a message. A supervisor that is held up must not hold up the work.
const WRITE_WITHIN: Duration = Duration::from_millis(20);

/// The connection to the supervisor. A clone shares it.
#[derive(Debug, Clone)]
pub(crate) struct Link(Arc<Ends>);

#[derive(Debug)]
struct Ends {
    /// The bytes to write, in order. The lock is never held during a write, so that no message waits for another one's
    /// write.
    queue: Mutex<Queue>,
    line: Mutex<Line>,
    /// The number of bytes that have left the process; `u64::MAX` when nothing reads them any more. Wakes the loops
    /// that wait for a claim to be sent.
    written: watch::Sender<u64>,
    drawing: Mutex<Drawing>,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// The number of bytes that were ever put in.
    put: u64,
}

#[derive(Debug)]
struct Line {
    stream: UnixStream,
    /// The write timeout that is set on the socket; `None` if a write waits without limit.
    within: Option<Duration>,
    /// The bytes that could not be written yet.
    rest: Vec<u8>,
    /// The number of bytes that were written.
    written: u64,
    /// Whether nothing reads the bytes any more.
    broken: bool,
}

/// The loops that receive grants, by their number.
#[derive(Default)]
struct Drawing {
    loops: HashMap<u64, OnGrant>,
    next: u64,
}

type OnGrant = Arc<dyn Fn(Grant) + Send + Sync>;

impl fmt::Debug for Drawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drawing").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Link {
    /// Connects to the supervisor that started this process. When the supervisor ends in any way, this process is
    /// stopped.
    ///
    /// # Errors
    /// Returns an error if the supervisor cannot be reached; it may have ended.
    pub(crate) fn join(identity: &WorkerIdentity, orders: UnboundedSender<Reason>) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
        // The supervisor may have died before the line above. In that case, this process has another parent by now.
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        if parent != Some(identity.supervisor) {
            return Err(io::Error::other("the supervisor that started this worker is gone"));
        }
        let stream = address::connect(&identity.address)?;
        let heard = stream.try_clone()?;
        let link = Self::over(stream);
        let granted = link.clone();
        let listens = move || {
            granted.read_grants(heard);
            orphaned(&orders);
        };
        thread::Builder::new().name("ergon-parent".to_owned()).spawn(listens)?;
        Ok(link)
    }

    fn over(stream: UnixStream) -> Self {
        // A new socket has no timeout.
        let line = Line { stream, within: None, rest: Vec::new(), written: 0, broken: false };
        let (queue, written, drawing) = (Mutex::default(), watch::Sender::new(0), Mutex::default());
        Self(Arc::new(Ends { queue, line: Mutex::new(line), written, drawing }))
    }

    /// Sends a message as soon as the supervisor reads. A report of progress is dropped while the supervisor does not
    /// read, because a newer one follows.
    pub(crate) fn send(&self, message: &Message) {
        if !matches!(message, Message::Progress { .. }) || self.is_idle() {
            self.0.put(message);
        }
        self.0.write(Some(WRITE_WITHIN));
    }

    /// Sends the last message, and waits until it is sent or the supervisor has ended.
    pub(crate) fn finish(&self, message: &Message) {
        self.0.put(message);
        self.0.write(None);
    }

    /// Whether every message so far has left the process.
    fn is_idle(&self) -> bool {
        self.0.written() >= self.0.queue().put
    }

    /// Passes grants on to their loops, until the supervisor closes the connection.
    fn read_grants(&self, stream: UnixStream) {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            if let Ok(Order { draw, grant }) = serde_json::from_str(&line) {
                let on_grant = self.0.drawing().loops.get(&draw).cloned();
                if let Some(on_grant) = on_grant {
                    on_grant(grant);
                }
            }
        }
    }
}

impl Quota for Link {
    fn draw(&self, limit: u64, on_grant: Box<dyn Fn(Grant) + Send + Sync>) -> Box<dyn Draw> {
        let number = {
            let mut drawing = self.0.drawing();
            let number = drawing.next;
            drawing.next += 1;
            drawing.loops.insert(number, on_grant.into());
            number
        };
        self.send(&Message::Draws { draw: number, limit });
        Box::new(Drawn { link: self.clone(), number })
    }
}

/// A loop that draws on a limit.
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
                // The wait fails only if the sender is dropped, and `ends` holds the sender.
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

    /// Puts a message in the queue. Returns the number of bytes up to its end.
    fn put(&self, message: &Message) -> u64 {
        let mut queue = self.queue();
        // Plain data always serializes.
        if let Ok(text) = serde_json::to_vec(message) {
            queue.put += text.len() as u64 + 1;
            queue.bytes.extend(text);
            queue.bytes.push(b'\n');
        }
        queue.put
    }

    /// The number of bytes that have left the process.
    fn written(&self) -> u64 {
        *self.written.borrow()
    }

    /// Writes the queue, for at most `within`. If another thread is writing, that thread writes the queue.
    fn write(&self, within: Option<Duration>) {
        loop {
            let line = match (within, self.line.try_lock()) {
                (_, Ok(line)) => line,
                (_, Err(TryLockError::Poisoned(poisoned))) => poisoned.into_inner(),
                (None, Err(TryLockError::WouldBlock)) => self.line(),
                // The other thread may wait for long, and this one must not.
                (Some(_), Err(TryLockError::WouldBlock)) => return,
            };
            let is_full = self.write_to(line, within);
            // A message may have arrived during the write. Its sender found the line in use, and left the message to
            // this thread.
            if is_full || self.queue().bytes.is_empty() {
                return;
            }
        }
    }

    /// Writes the queue to the socket. Returns whether the socket is full.
    fn write_to(&self, mut line: MutexGuard<'_, Line>, within: Option<Duration>) -> bool {
        line.rest.append(&mut self.queue().bytes);
        line.write(within);
        // Reported under the lock, so that the number never decreases. After the end of the supervisor, no loop has to
        // wait: the end is noticed by the thread that reads.
        let written = if line.broken { u64::MAX } else { line.written };
        self.written.send_if_modified(|known| std::mem::replace(known, written) != written);
        !line.rest.is_empty()
    }

    /// Writes the queue on a separate thread, which waits for the supervisor without limit.
    fn write_apart(self: &Arc<Self>) {
        let ends = Arc::clone(self);
        let write = move || ends.write(None);
        // If the system gives no thread, the next report of progress writes the queue, a moment later.
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
            // Nothing will read them.
            self.rest.clear();
        }
    }
}

/// Stops this process, because its supervisor has ended.
fn orphaned(orders: &UnboundedSender<Reason>) {
    // If standard error was a pipe to the supervisor, nothing reads it any more. A handler that writes there must not
    // fail because of it.
    let piped = io::stderr().as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata());
    if piped.is_ok_and(|file| file.file_type().is_fifo())
        && let Ok(nowhere) = File::options().write(true).open("/dev/null")
    {
        let _ = rustix::stdio::dup2_stderr(nowhere);
    }
    // The receiver is gone if the run is over.
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
        // More messages than the socket holds.
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
        // No other message is sent in the meantime: the claim is written as soon as the supervisor reads.
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
        link.read_grants(here);
        drop(heard.0);
        assert_eq!(heard.1.try_iter().collect::<Vec<_>>(), [(1, Grant::More(4)), (1, Grant::Recall)]);
    }
}
