//! Runs one worker process, from its start to its end.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::{Pid, Signal as SystemSignal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::death::Left;
use super::limits::Drawing;
use super::message::{Message, Order};
use super::record::Record;
use super::{Lines, Worker, Workers};
use crate::connector::Shard;
use crate::runner::stopping::{Reason, Stopping};
use crate::runner::{Signal, WorkerIdentity};
use crate::telemetry::worker::{WorkerKilled, WorkerStarted};

/// How long after its grace a worker is killed. A worker ends itself a little earlier.
const KILLED_AFTER: Duration = Duration::from_millis(500);
/// How long the output of a worker is read after its end. The limit is needed because a process that the worker started
/// may hold the pipe open.
const READ_AFTER: Duration = Duration::from_millis(500);

impl Workers {
    /// Runs one process of a worker to its end.
    pub(super) async fn run_once(
        &self,
        worker: &Worker,
        address: &str,
        stopping: &Stopping,
    ) -> io::Result<Left> {
        let mut child = self.spawn(worker, address)?;
        let pid = child.id().unwrap_or_default();
        WorkerStarted { task: worker.post.task, worker: worker.index, pid }.emit();
        let (admitted, joins) = oneshot::channel();
        // No `.await` since the start, so the worker cannot have been refused yet.
        self.shared.expected.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, admitted);
        self.shared.alive.lock().unwrap_or_else(PoisonError::into_inner).insert(pid);
        let (line, orders) = mpsc::unbounded_channel();
        let drawing = self.limits.admit(worker.post.task, worker.post.workers, line);
        let mut messages = tokio::spawn(listen(joins, orders, drawing, Arc::clone(&worker.record)));
        let lines = child.stderr.take().zip(self.output.lines.clone());
        let data = child.stdout.take().zip(self.output.data.clone());
        let forwarded = [
            lines.map(|(stderr, lines)| tokio::spawn(forward(stderr, lines))),
            data.map(|(stdout, data)| tokio::spawn(forward(stdout, data))),
        ];
        let status = self.wait(worker, &mut child, stopping).await;
        // A worker that ends right after it has connected may not be accepted yet.
        tokio::task::yield_now().await;
        self.shared.alive.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
        self.shared.expected.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
        if timeout(READ_AFTER, &mut messages).await.is_err() {
            // A process that the worker started holds the connection open. Messages from that process are not the
            // worker's.
            messages.abort();
            let _ = messages.await;
        }
        worker.record.has_run();
        let _ = timeout(READ_AFTER, join_all(forwarded.into_iter().flatten())).await;
        Ok(Left::new(status?, worker.record.ending(), self.stop.drain.is_cancelled()))
    }

    fn spawn(&self, worker: &Worker, address: &str) -> io::Result<Child> {
        let identity = WorkerIdentity {
            task: worker.post.task.to_owned(),
            shard: Shard { index: worker.index, count: worker.post.workers },
            supervisor: std::process::id(),
            address: address.to_owned(),
            colour: self.output.colour,
            is_restart: worker.record.may_have_written(),
        };
        let mut command = Command::new(program()?);
        command.arg(format!("--as-worker={identity}")).args(std::env::args_os().skip(1)).kill_on_drop(true);
        if self.output.lines.is_some() {
            command.stderr(Stdio::piped());
        }
        if self.output.data.is_some() {
            command.stdout(Stdio::piped());
        }
        command.spawn()
    }

    /// Waits for the end of a worker. Passes a stop on, and kills a worker that does not end in time.
    async fn wait(&self, worker: &Worker, child: &mut Child, stopping: &Stopping) -> io::Result<ExitStatus> {
        tokio::select! {
            status = child.wait() => return status,
            () = self.stop.drain.cancelled() => (),
        }
        let passed_on = match stopping.reason() {
            Some(Reason::Signal(Signal::Interrupt)) => SystemSignal::INT,
            Some(Reason::Signal(Signal::Hangup)) => SystemSignal::HUP,
            _ => SystemSignal::TERM,
        };
        if let Some(pid) = child.id() {
            signal(pid, passed_on);
        }
        tokio::select! {
            status = child.wait() => return status,
            () = sleep(worker.post.grace.saturating_add(KILLED_AFTER)) => (),
        }
        WorkerKilled { task: worker.post.task, worker: worker.index }.emit();
        child.start_kill()?;
        child.wait().await
    }
}

/// The path of this program. If the file was replaced or removed, the file of the running program.
fn program() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let running = PathBuf::from("/proc/self/exe");
    Ok(if own.exists() || !running.exists() { own } else { running })
}

/// Sends a signal. If that fails, the process has ended.
pub(super) fn signal(pid: u32, signal: SystemSignal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let _ = pid.map(|pid| kill_process(pid, signal));
}

/// Reads all messages of a worker.
async fn listen(
    joins: oneshot::Receiver<UnixStream>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    mut drawing: Drawing,
    record: Arc<Record>,
) {
    let Ok(stream) = joins.await else { return drawing.read_to_end() };
    let (read, mut write) = stream.into_split();
    let reading = async {
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            // A worker that is killed may leave half a line.
            let Ok(message) = serde_json::from_str(&line) else { continue };
            match message {
                Message::Draws { draw, limit } => drawing.join(draw, limit),
                Message::Claims { draw, claim } => drawing.apply(draw, claim),
                Message::Leaves { draw } => drawing.leave(draw),
                _ => (),
            }
            record.apply(message);
        }
        drawing.read_to_end();
    };
    let writing = async {
        while let Some(order) = orders.recv().await {
            // Plain data always serializes. A worker that has ended reads nothing.
            let Ok(mut line) = serde_json::to_vec(&order) else { continue };
            line.push(b'\n');
            let _ = write.write_all(&line).await;
        }
        // The supervisor keeps its end of the connection open, because a worker takes the end of the connection for the
        // end of its supervisor.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = reading => (),
        () = writing => (),
    }
}

/// Forwards the output of a worker, in whole lines.
async fn forward(stream: impl AsyncRead + Unpin, lines: Lines) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(1..) = stream.read_until(b'\n', &mut line).await {
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        lines(&String::from_utf8_lossy(&line));
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn lines_are_passed_on_whole() {
        let passed = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&passed);
        let written: &[u8] = b"one\ntwo \xff\nhalf";
        forward(written, Arc::new(move |line: &str| taken.lock().unwrap().push(line.to_owned()))).await;
        assert_eq!(*passed.lock().unwrap(), ["one\n", "two \u{fffd}\n", "half\n"]);
    }
}
