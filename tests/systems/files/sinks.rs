//! Tests the promises of a file sink: no other run empties the file, no half line stays in it, and no delivery is
//! acknowledged whose line is not in the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ergon::connector::ConnectorError;
use ergon::connector::{Connector, ConnectorConfig, Context, Direction, Sink};
use ergon::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The time limit of each wait, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder in which the program `pipeline` copies `lines.jsonl` to `copies.jsonl`.
pub(crate) struct Project(TempDir);

impl Project {
    /// Makes a folder with a file of this many lines; `copies` is the table of the sink.
    pub(crate) fn new(lines: u32, copies: &str) -> Self {
        let project = Self(TempDir::new().unwrap());
        let at = |name: &str| project.at(name).display().to_string();
        let gate = format!("[gate]\ngate = {:?}\narrived = {:?}\n", at("gate"), at("arrived"));
        let settings = format!("[lines]\npath = \"lines.jsonl\"\n[copies]\n{copies}\n{gate}");
        fs::write(project.at("ergon.toml"), settings).unwrap();
        fs::write(project.at("lines.jsonl"), numbered(lines)).unwrap();
        project
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Lets all transactions through, present and future.
    pub(crate) fn open(&self) {
        fs::write(self.at("gate"), "").unwrap();
    }

    /// Makes the command that runs the program in a shell: the script `shell` has `"$0" "$@"` in it.
    pub(crate) fn shell(&self, shell: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", shell, env!("CARGO_BIN_EXE_pipeline")]).args(arguments);
        command.current_dir(self.0.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ERGON") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command
    }

    /// Starts a run.
    pub(crate) fn start(&self) -> Child {
        // The log of a run must not fill the pipe to this test.
        let mut command = self.shell("exec \"$0\" \"$@\"", &["run", "copy-lines", "--log-level", "warn"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap_or_default()
    }
}

/// Makes this many lines.
pub(crate) fn numbered(lines: u32) -> String {
    let lines: Vec<_> = (0..lines).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    lines.concat()
}

/// Waits for the end of a process; kills a process that hangs.
pub(crate) fn ended(mut child: Child) -> Output {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it hangs: {:?}", child.wait_with_output().unwrap());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A sink as a run opens it.
pub(crate) async fn sink<C: ConnectorConfig<Connector: Sink>>(config: &C) -> C::Connector {
    try_sink(config).await.unwrap()
}

pub(crate) async fn try_sink<C: ConnectorConfig<Connector: Sink>>(
    config: &C,
) -> Result<C::Connector, ConnectorError> {
    let mut context = Context::new("task", "output");
    context.direction = Direction::Sink;
    let sink = config.build(&context)?;
    sink.open().await?;
    sink.start().await?;
    Ok(sink)
}

pub(crate) fn one(n: impl Into<Value>) -> Vec<Transaction> {
    let n: Value = n.into();
    vec![Transaction::new(format!("t{n}"), &json!({ "n": n })).unwrap()]
}

fn json_lines(path: &Path, append: bool) -> JsonLinesConfig {
    serde_json::from_value(json!({"path": path, "append": append})).unwrap()
}

fn csv(path: &Path, append: bool) -> CsvConfig {
    serde_json::from_value(json!({"path": path, "append": append})).unwrap()
}

#[tokio::test]
async fn no_sink_empties_what_another_one_has_open() {
    async fn tried<C: ConnectorConfig<Connector: Sink>>(config: impl Fn(bool) -> C, path: &Path) {
        for first_appends in [true, false] {
            let first = sink(&config(first_appends)).await;
            first.dispatch(one(1)).await.unwrap();
            let error = try_sink(&config(false)).await.err().expect("the second sink is refused");
            assert!(error.is_permanent() && error.hint().is_some(), "{error:?}");
            assert!(error.message().contains("another sink"), "{error}");
            // A sink that appends is accepted.
            let third = sink(&config(true)).await;
            third.dispatch(one(2)).await.unwrap();
            first.dispatch(one(3)).await.unwrap();
            third.close().await.unwrap();
            first.close().await.unwrap();
            let text = fs::read_to_string(path).unwrap();
            for n in ["1", "2", "3"] {
                assert!(text.contains(n), "{n} is lost: {text}");
            }
        }
        // When all sinks are closed, a new sink may empty the file.
        sink(&config(false)).await.close().await.unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "");
    }
    let folder = TempDir::new().unwrap();
    let (lines, table) = (folder.path().join("a.jsonl"), folder.path().join("a.csv"));
    tried(|append| json_lines(&lines, append), &lines).await;
    tried(|append| csv(&table, append), &table).await;
}

#[tokio::test]
async fn no_sink_empties_a_file_by_another_name_of_it() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a.jsonl"), "").unwrap();
    fs::hard_link(at("a.jsonl"), at("hard.jsonl")).unwrap();
    std::os::unix::fs::symlink("a.jsonl", at("soft.jsonl")).unwrap();
    let first = sink(&json_lines(&at("a.jsonl"), true)).await;
    first.dispatch(one(1)).await.unwrap();
    for other in ["hard.jsonl", "soft.jsonl"] {
        assert!(try_sink(&json_lines(&at(other), false)).await.is_err(), "{other}");
    }
    first.close().await.unwrap();
    assert_eq!(fs::read_to_string(at("a.jsonl")).unwrap(), "{\"n\":1}\n");
}

#[test]
fn a_second_run_is_refused_while_the_first_writes() {
    let project = Project::new(10, "path = \"copies.jsonl\"\nappend = false");
    let first = project.start();
    until("the first run", || project.at("arrived").exists());
    let mut second = project.start();
    let process = second.id().to_string();
    // Both lanes of the first run arrive, one of them perhaps late. Only the process id distinguishes the runs.
    let arrived = || project.read("arrived").lines().any(|line| line == process);
    until("the second run", || arrived() || second.try_wait().unwrap().is_some());
    project.open();
    let (first, second) = (ended(first), ended(second));
    assert_eq!(second.status.code(), Some(2), "{}", said(&second));
    assert!(said(&second).contains("another sink is writing to"), "{}", said(&second));
    assert!(said(&second).contains("append = true"), "{}", said(&second));
    assert_eq!(first.status.code(), Some(0), "{}", said(&first));
    assert_eq!(project.read("copies.jsonl").lines().count(), 10);
}

#[test]
fn a_transaction_by_hand_beside_a_run_is_added() {
    let project = Project::new(10, "path = \"copies.jsonl\"\nappend = false");
    let run = project.start();
    until("the run", || project.at("arrived").exists());
    let by_hand = ["process-transaction", "copy-lines", "--payload-json", r#"{"n":41}"#];
    let mut command = project.shell("exec \"$0\" \"$@\"", &by_hand);
    let by_hand = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    project.open();
    let (run, by_hand) = (ended(run), ended(by_hand));
    assert_eq!((run.status.code(), by_hand.status.code()), (Some(0), Some(0)), "{}", said(&by_hand));
    assert_eq!(project.read("copies.jsonl").lines().count(), 11);
}

#[test]
fn a_closed_standard_output_is_no_success() {
    let project = Project::new(10, "path = \"-\"");
    project.open();
    for closed in ["exec \"$0\" \"$@\" >&-", "exec \"$0\" \"$@\" 1<lines.jsonl"] {
        for command in [&["run", "copy-lines"][..], &["run", "copy-lines", "--format", "json"]] {
            let child = project.shell(closed, command).stderr(Stdio::piped()).spawn().unwrap();
            let output = ended(child);
            assert_eq!(output.status.code(), Some(2), "{closed}: {}", said(&output));
            assert!(said(&output).contains("standard output is not open for writing"), "{}", said(&output));
            assert!(!said(&output).contains("10 succeeded"), "{}", said(&output));
        }
    }
    let path = project.read("ergon.toml").replace("\"-\"", "\"/dev/stdout\"");
    fs::write(project.at("ergon.toml"), path).unwrap();
    let child =
        project.shell("exec \"$0\" \"$@\" >&-", &["run", "copy-lines"]).stderr(Stdio::piped()).spawn();
    let output = ended(child.unwrap());
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn standard_output_may_be_thrown_away_by_name() {
    let project = Project::new(10, "path = \"-\"");
    project.open();
    let mut command = project.shell("exec \"$0\" \"$@\" > /dev/null", &["run", "copy-lines"]);
    let output = ended(command.stderr(Stdio::piped()).spawn().unwrap());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("10 succeeded"), "{}", said(&output));
}

/// Reads from the summary how many transactions succeeded.
fn succeeded(output: &Output) -> usize {
    let said = said(output);
    let (before, _) = said.split_once(" succeeded").unwrap_or_else(|| panic!("no summary: {said}"));
    before.rsplit([' ', ',']).next().unwrap().replace('_', "").parse().unwrap_or_else(|_| panic!("{said}"))
}

#[test]
fn what_a_full_disk_takes_is_whole_and_what_it_does_not_take_is_not_acknowledged() {
    for workers in ["1", "3"] {
        let project = Project::new(700, "path = \"copies.jsonl\"");
        project.open();
        // The system stops a write half-way, as on a full disk.
        let limited = "trap '' XFSZ; ulimit -f 6; exec \"$0\" \"$@\"";
        let mut command =
            project.shell(limited, &["run", "copy-lines", "--workers", workers, "--log-level", "off"]);
        let output = ended(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        let text = project.read("copies.jsonl");
        assert!(text.ends_with('\n') && text.len() > 4000, "{}: {}", text.len(), said(&output));
        for line in text.lines() {
            let _: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("half a line: {line}"));
        }
        assert_eq!(text.lines().count(), succeeded(&output), "{}", said(&output));
    }
}

/// With `fsync = "each"`, a line is in the file when its dispatch returns, also if the process is killed right after.
#[test]
fn a_process_that_is_killed_loses_no_line_that_a_dispatch_reported() {
    loses_no_line_when_it_is_killed("64", "each", "PIPELINE_CONFIRMED");
}

/// The engine writes the lines of a delivery before it acknowledges the delivery.
#[test]
fn a_process_that_is_killed_loses_no_line_of_a_delivery_that_was_acknowledged() {
    for (lanes, fsync) in [("1", "end"), ("64", "end"), ("64", "never"), ("64", "each")] {
        loses_no_line_when_it_is_killed(lanes, fsync, "PIPELINE_ACKNOWLEDGED");
    }
}

/// Kills a run; each number that it noted in the file of this variable has its line, and the next run finds a file that
/// it can continue.
fn loses_no_line_when_it_is_killed(lanes: &str, fsync: &str, variable: &str) {
    let project = Project::new(20_000, &format!("path = \"copies.jsonl\"\nfsync = {fsync:?}"));
    project.open();
    let run = |noted: &str| {
        let arguments = ["run", "copy-lines", "--concurrency", lanes, "--log-level", "off"];
        let mut command = project.shell("exec \"$0\" \"$@\"", &arguments);
        command.env(variable, project.at(noted));
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut killed = run("noted");
    until("a part of the lines", || project.read("noted").lines().count() > 300);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let there = project.read("copies.jsonl");
    let before = there.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let whole: std::collections::HashSet<&str> = before.lines().collect();
    // The last number may have been written in part.
    let noted = project.read("noted");
    let noted = noted.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for n in noted.lines() {
        assert!(
            whole.contains(&*format!("{{\"n\":{n}}}")),
            "{lanes} lanes, {fsync}, {variable}: {n} is lost"
        );
    }
    let output = ended(run("noted later"));
    assert!(said(&output).contains("20,000 succeeded"), "{}", said(&output));
    let text = project.read("copies.jsonl");
    assert!(text.strip_prefix(before).is_some_and(|rest| rest.starts_with('\n')), "what was there stays");
    let mut numbers: Vec<u64> = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("half a line: {line}"));
        numbers.push(line["n"].as_u64().unwrap());
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 20_000, "{lanes} lanes, {fsync}");
}

#[tokio::test]
async fn half_a_line_that_another_worker_left_meanwhile_is_put_aside() {
    async fn tried<C: ConnectorConfig<Connector: Sink>>(config: C, path: &Path, half: &str) -> String {
        let here = sink(&config).await;
        here.dispatch(one(1)).await.unwrap();
        // Half a line of a worker that was killed while it wrote.
        let mut other = fs::File::options().append(true).open(path).unwrap();
        std::io::Write::write_all(&mut other, half.as_bytes()).unwrap();
        here.dispatch(one(2)).await.unwrap();
        here.close().await.unwrap();
        let aside = fs::read_to_string(format!("{}.torn", path.display())).unwrap_or_default();
        assert_eq!(aside.trim_end(), half, "what was cut off is kept");
        fs::read_to_string(path).unwrap()
    }
    let folder = TempDir::new().unwrap();
    let (lines, table) = (folder.path().join("a.jsonl"), folder.path().join("a.csv"));
    let text = tried(json_lines(&lines, true), &lines, "{\"n\":\"3").await;
    assert_eq!(text, "{\"n\":1}\n{\"n\":2}\n");
    let text = tried(csv(&table, true), &table, "\"3").await;
    assert_eq!(text, "n\n1\n2\n");
}

type Harm = (&'static str, fn(&Path));

const HARMS: [Harm; 6] = [
    ("removed", |path| fs::remove_file(path).unwrap()),
    ("moved away", |path| fs::rename(path, path.with_extension("old")).unwrap()),
    ("replaced", |path| {
        let copy = path.with_extension("copy");
        fs::copy(path, &copy).unwrap();
        fs::rename(copy, path).unwrap();
    }),
    ("emptied", |path| fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap()),
    ("cut off", |path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    }),
    ("moved with its folder", |path| {
        let folder = path.parent().unwrap();
        fs::rename(folder, folder.with_extension("old")).unwrap();
    }),
];

#[tokio::test]
async fn a_file_that_is_taken_away_or_shortened_is_noticed_by_the_next_dispatch_and_at_the_close() {
    async fn tried<C: ConnectorConfig<Connector: Sink>>(config: C, path: &Path) {
        for (what, harm) in HARMS {
            for dispatches in [true, false] {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let here = sink(&config).await;
                here.dispatch(one(1)).await.unwrap();
                harm(path);
                if dispatches {
                    for n in 2..4 {
                        let error = here.dispatch(one(n)).await.expect_err(what);
                        assert!(error.is_closed() && error.hint().is_some(), "{what}: {error:?}");
                        assert!(error.message().contains(path.to_str().unwrap()), "{what}: {error}");
                    }
                }
                let error = here.close().await.expect_err(what);
                assert!(error.message().contains(path.to_str().unwrap()), "{what}: {error}");
                let folder = path.parent().unwrap();
                let _ = fs::remove_dir_all(folder);
                let _ = fs::remove_dir_all(folder.with_extension("old"));
            }
        }
    }
    let folder = TempDir::new().unwrap();
    let (lines, table) = (folder.path().join("in/a.jsonl"), folder.path().join("in/a.csv"));
    tried(json_lines(&lines, true), &lines).await;
    tried(csv(&table, true), &table).await;
    let rows = ExcelConfig::new(folder.path().join("in/a.xlsx"));
    tried(rows, &folder.path().join("in/a.xlsx.partial")).await;
}

#[test]
fn a_run_whose_output_is_removed_acknowledges_nothing_and_fails() {
    let project = Project::new(10, "path = \"copies.jsonl\"");
    let run = project.start();
    until("the run", || project.at("arrived").exists());
    fs::remove_file(project.at("copies.jsonl")).unwrap();
    project.open();
    let output = ended(run);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(succeeded(&output), 0, "{}", said(&output));
    assert!(said(&output).contains("copies.jsonl was removed"), "{}", said(&output));
}

#[tokio::test]
async fn a_folder_as_path_is_found_at_the_start() {
    async fn tried<C: ConnectorConfig<Connector: Sink>>(config: C) {
        let mut context = Context::new("task", "output");
        context.direction = Direction::Sink;
        let here = config.build(&context).unwrap();
        for error in [here.check().await.err(), here.open().await.err()] {
            let error = error.expect("a folder is refused");
            assert!(error.is_permanent() && error.message().contains("is a folder"), "{error:?}");
        }
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out");
    fs::create_dir(&path).unwrap();
    tried(json_lines(&path, true)).await;
    tried(csv(&path, false)).await;
    tried(ExcelConfig::new(&*path)).await;
    for path in [folder.path().join("new/"), folder.path().join("out/..")] {
        tried(json_lines(&path, true)).await;
        tried(csv(&path, false)).await;
        tried(ExcelConfig::new(&*path)).await;
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is made");
}
