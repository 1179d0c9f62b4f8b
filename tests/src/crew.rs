//! Runs the program `crew` in a folder, and watches its processes for a test.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

use crate::ledger::{Entry, Event, Ledger};

/// The time limit of every wait, for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with settings, lines to work on, and a ledger.
#[derive(Debug)]
pub struct Site {
    folder: TempDir,
    /// The events that the processes recorded.
    pub ledger: Ledger,
    program: &'static str,
}

impl Site {
    /// Makes a folder for this program. `settings` is added to the settings that the program always needs.
    pub fn new(program: &'static str, work: Duration, settings: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let ledger = Ledger::open(folder.path()).expect("a ledger");
        let site = Self { folder, ledger, program };
        let (path, work_ms) = (site.path().display().to_string(), work.as_millis());
        let toml = format!(
            "{settings}\n[lines]\npath = \"lines.jsonl\"\n[rows]\npath = \"rows.xlsx\"\n\
             [copied]\npath = \"copied.jsonl\"\n[copies]\npath = \"copies.jsonl\"\nappend = false\nfsync = \"each\"\n\
             [door]\ngate = \"gate\"\n[books]\nfolder = {path:?}\nwork_ms = {work_ms}\n"
        );
        site.write("ergon.toml", &toml);
        site
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("a file can be written");
    }

    /// Writes the lines: the instruction of each, or `nothing`.
    pub fn lines<'d>(&self, does: impl IntoIterator<Item = &'d str>) {
        let mut text = String::new();
        for does in does {
            writeln!(text, "{{\"does\":\"{does}\"}}").expect("a String takes all");
        }
        self.write("lines.jsonl", &text);
    }

    /// The program with these arguments, and without the environment variables of Ergon.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ERGON") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program starts")
    }

    /// Starts the program, and collects its output.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        Running::new(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts"))
    }

    /// Starts the program with a variable of its environment.
    pub fn start_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::new(command.spawn().expect("it starts"))
    }

    /// Starts a command of this site that another program wraps.
    pub fn start_as(&self, program: &str, arguments: &[&str], inner: &Command) -> Running {
        let mut command = Command::new(program);
        command.args(arguments).arg(inner.get_program()).args(inner.get_args());
        command.current_dir(self.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::new(command.spawn().expect("it starts"))
    }

    /// Waits until this many events were recorded.
    pub fn until_entries(&self, count: usize) {
        wait(&format!("{count} entries"), || self.ledger.count() >= count);
    }

    /// The numbers of starts and ends of each id.
    pub fn counts(&self) -> BTreeMap<String, (usize, usize)> {
        let mut counts = BTreeMap::<_, (usize, usize)>::new();
        for Entry(id, _, _, event, _) in self.ledger.entries() {
            let of_id = counts.entry(id).or_default();
            match event {
                Event::Start => of_id.0 += 1,
                Event::End => of_id.1 += 1,
                Event::Offered | Event::Confirmed => (),
            }
        }
        counts
    }

    /// The processes whose constructors hang.
    pub fn building(&self) -> Vec<u32> {
        let files = fs::read_dir(self.path()).expect("the folder is there");
        let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
        names.filter_map(|name| name.strip_prefix("building-")?.parse().ok()).collect()
    }

    /// The processes that recorded an event.
    pub fn pids(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self.ledger.entries().into_iter().map(|Entry(_, _, pid, ..)| pid).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }
}

/// A process that a test has started; killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    reading: Option<thread::JoinHandle<()>>,
}

impl Running {
    /// Listens to a process whose standard error is piped.
    ///
    /// # Panics
    /// Panics when it is not.
    pub fn new(mut child: Child) -> Self {
        // A separate thread reads the pipe, because a full pipe would block the program.
        let mut stderr = child.stderr.take().expect("it is piped");
        let said = Arc::<Mutex<Vec<u8>>>::default();
        let heard = Arc::clone(&said);
        let reading = thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut piece) {
                heard.lock().expect("unpoisoned").extend(piece.iter().take(count));
            }
        });
        Self { child, said, reading: Some(reading) }
    }

    /// The text that the process has written to standard error so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().expect("unpoisoned")).into_owned()
    }

    /// Waits until it has written this to standard error.
    pub fn until_said(&self, text: &str) {
        wait(&format!("{text:?} on standard error"), || self.said().contains(text));
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits for the end of the process. Returns its status, the time from now to the end, and its standard error.
    ///
    /// # Panics
    /// Panics when it does not end.
    pub fn end(&mut self) -> (ExitStatus, Duration, String) {
        let began = Instant::now();
        let mut status = None;
        wait("the end of the program", || {
            status = self.child.try_wait().expect("it can be waited for");
            status.is_some()
        });
        let took = began.elapsed();
        // A worker that outlives the process may hold the other end. In that case, the text so far is the whole text.
        let reading = self.reading.take().expect("it ends once");
        let began = Instant::now();
        while !reading.is_finished() && began.elapsed() < Duration::from_secs(2) {
            thread::sleep(Duration::from_millis(2));
        }
        (status.expect("it has ended"), took, self.said())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process has ended, or has to end now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process.
///
/// # Panics
/// Panics when there is no such process.
pub fn send(pid: u32, signal: Signal) {
    kill_process(of(pid), signal).expect("the process is there");
}

/// Returns whether a process is alive. A process that has ended and was not waited for is not alive.
pub fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let zombie = stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
    test_kill_process(of(pid)).is_ok() && !zombie
}

fn of(pid: u32) -> Pid {
    i32::try_from(pid).ok().and_then(Pid::from_raw).expect("an id of a process")
}

/// Waits until something holds.
///
/// # Panics
/// Panics when it does not in time.
pub fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
