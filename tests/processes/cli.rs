//! Tests the command line as a person and as a shell use it, with real processes, files and signals.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;
use tempfile::TempDir;

const SETTINGS: &str = r#"
[lines]
path = "lines.jsonl"

[copies]
path = "copies.jsonl"

[gate]
"#;

/// A project folder: an `ergon.toml` and a file of lines.
struct Project(TempDir);

impl Project {
    fn new() -> Self {
        let project = Self(TempDir::new().unwrap());
        project.write("ergon.toml", SETTINGS);
        project.lines(0..10);
        project
    }

    /// A project whose transactions wait until [`open`](Self::open).
    fn gated(settings: &str) -> Self {
        let project = Self::new();
        let at = |name: &str| project.0.path().join(name).display().to_string();
        let gate = format!("gate = {:?}\narrived = {:?}\n", at("gate"), at("arrived"));
        project.write("ergon.toml", &format!("{SETTINGS}{gate}{settings}"));
        project
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn lines(&self, numbers: impl Iterator<Item = u32>) {
        let lines: Vec<_> = numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect();
        self.write("lines.jsonl", &lines.concat());
    }

    fn copies(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.path().join("copies.jsonl")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn open(&self) {
        self.write("gate", "");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_pipeline"), arguments)
    }

    fn program(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.0.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ERGON") || name == "RUST_LOG")
        {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts a run, and waits until a transaction waits at the gate.
    fn start(&self) -> Child {
        let mut command = self.command(&["run", "copy-lines"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        self.wait_for("arrived");
        child
    }

    fn wait_for(&self, name: &str) {
        let file = self.0.path().join(name);
        let began = Instant::now();
        while !file.exists() {
            assert!(began.elapsed() < Duration::from_secs(60), "{name} did not come");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn signal(child: &Child, signal: &str) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Reads lines until one contains `text`; returns them all.
fn read_until(lines: &mut impl BufRead, text: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(text) {
        assert!(lines.read_line(&mut seen).unwrap() > 0, "ended without {text:?}: {seen}");
    }
    seen
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_run_ends_with_a_summary_on_stderr_and_exit_0() {
    let project = Project::new();
    let output = project.run(&["run", "copy-lines"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
    let summary = stderr(&output);
    for part in
        ["copy-lines: 10 transactions processed", "10 succeeded.", "p50", "p99", "The source is empty."]
    {
        assert!(summary.contains(part), "{part:?} is missing in:\n{summary}");
    }
    assert_eq!(project.copies().len(), 10);
}

#[test]
fn the_summary_can_be_one_json_object_on_stdout() {
    let project = Project::new();
    let output = project.run(&["--format", "json", "run", "copy-lines"]);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["processed"], 10);
    assert_eq!(summary["exit_code"], 0);
}

#[test]
fn the_summary_as_json_is_alone_on_stdout_whatever_the_logs_are_to_do() {
    let project = Project::new();
    project
        .write("ergon.toml", &format!("{SETTINGS}[[telemetry.logs]]\nconsole = {{ stream = \"stdout\" }}\n"));
    let output = project.run(&["--format", "json", "run", "copy-lines"]);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["succeeded"], stderr(&output).matches("copying").count()), (&10.into(), 10));
    assert_eq!(stdout(&project.run(&["run", "copy-lines"])).matches("copying").count(), 10);
}

#[test]
fn an_interrupt_drains_says_so_and_exits_130() {
    let project = Project::gated("");
    let mut child = project.start();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    signal(&child, "-INT");
    let said = read_until(&mut lines, "stopping");
    assert!(said.contains("2 in flight"), "{said}");
    project.open();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(project.copies().len(), 2, "what was in flight is finished, nothing else is begun");
    let summary = [
        "copy-lines: 2 transactions processed in ",
        "  2 succeeded.",
        "  step           count      p50      p95      p99      max",
        "  process            2 ",
        "  success            2 ",
    ];
    assert_in_turn(&rest, &summary);
}

#[test]
fn a_termination_drains_and_exits_143() {
    let project = Project::gated("");
    let mut child = project.start();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    signal(&child, "-TERM");
    read_until(&mut lines, "stopping");
    project.open();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(project.copies().len(), 2);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let project = Project::gated("");
    let mut child = project.start();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    signal(&child, "-INT");
    read_until(&mut lines, "stopping");
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(project.copies().len(), 0);
}

#[test]
fn what_is_not_done_within_the_grace_is_given_back() {
    let project = Project::gated("\n[tasks.copy-lines.consumer]\nshutdown_grace = \"50ms\"\n");
    let mut child = project.start();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    signal(&child, "-INT");
    let mut said = String::new();
    lines.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(said.contains("0 transactions processed") && said.contains("given back"), "{said}");
}

#[test]
fn a_handler_failure_exits_1() {
    let project = Project::new();
    project.write("lines.jsonl", "{\"n\":1,\"fails\":true}\n");
    let output = project.command(&["run", "copy-lines"]).env("PIPELINE_HANDLER_FAILS", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("the handler fails as well"), "{}", stderr(&output));
}

#[test]
fn refused_transactions_are_a_good_end() {
    let project = Project::new();
    project.write("lines.jsonl", "{\"n\":1,\"fails\":true}\n{\"n\":2}\nnot json\n");
    let output = project.run(&["run", "copy-lines"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("2 were rejected") && said.contains("this line fails"), "{said}");
    assert_eq!(project.copies(), ["{\"n\":2}"]);
}

#[test]
fn a_misspelt_key_names_file_line_key_and_the_right_one() {
    let project = Project::new();
    project.write("ergon.toml", &SETTINGS.replace("[lines]\npath", "[lines]\npaht"));
    let output = project.run(&["run", "copy-lines"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    for part in ["ergon.toml:3:1", "unknown key `paht`", "did you mean `path`"] {
        assert!(said.contains(part), "{part:?} is missing in:\n{said}");
    }
}

#[test]
fn an_impossible_policy_in_the_file_names_its_place() {
    let project = Project::new();
    let policy = "\n[tasks.copy-lines.consumer]\nconcurrency = 0\n";
    project.write("ergon.toml", &format!("{SETTINGS}{policy}"));
    let output = project.run(&["run", "copy-lines"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    for part in ["ergon.toml:11:15", "tasks.copy-lines.consumer.concurrency", "must be at least 1", "found 0"]
    {
        assert!(said.contains(part), "{part:?} is missing in:\n{said}");
    }
}

#[test]
fn the_environment_overrides_the_file_and_is_blamed_for_its_mistakes() {
    let project = Project::new();
    project.write("other.jsonl", "{\"n\":7}\n");
    let output =
        project.command(&["run", "copy-lines"]).env("ERGON_LINES__PATH", "other.jsonl").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(project.copies(), ["{\"n\":7}"]);
    let mut command = project.command(&["run", "copy-lines"]);
    let output = command.env("ERGON_TASKS__COPY_LINES__CONSUMER__CONCURRENCY", "many").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("ERGON_TASKS__COPY_LINES__CONSUMER__CONCURRENCY"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_missing_file_is_one_clear_error() {
    let project = Project::new();
    std::fs::remove_file(project.0.path().join("lines.jsonl")).unwrap();
    let output = project.run(&["run", "copy-lines"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("connector `input` (json-lines)") && said.contains("lines.jsonl"), "{said}");
}

#[test]
fn an_unknown_task_or_command_suggests_the_right_one_and_exits_2() {
    let project = Project::new();
    let output = project.run(&["run", "copy-line"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean `copy-lines`"), "{}", stderr(&output));
    let output = project.run(&["rnu", "copy-lines"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("run"), "{}", stderr(&output));
}

#[test]
fn one_transaction_can_be_processed_by_hand() {
    let project = Project::new();
    let by_hand = |payload: &str, more: &[&str]| {
        let mut arguments = vec!["process-transaction", "copy-lines", "--payload-json", payload];
        arguments.extend(more);
        project.run(&arguments)
    };
    let output = by_hand("{\"n\": 21}", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("42"), "the output is shown: {}", stdout(&output));
    assert_eq!(project.copies(), ["{\"n\": 21}"]);
    by_hand("{\"n\": 22}", &["--dry-run"]);
    assert_eq!(project.copies().len(), 1, "a dry run dispatches nothing");
    assert_eq!(by_hand("{\"n\": 1, \"fails\": true}", &[]).status.code(), Some(1));
    let output = by_hand("{\"n\": ", &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("line 1") || stderr(&output).contains(":1:"), "{}", stderr(&output));
}

#[test]
fn a_payload_can_come_from_stdin() {
    let project = Project::new();
    let mut command = project.command(&["process-transaction", "copy-lines", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"n\": 5}").unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(project.copies(), ["{\"n\": 5}"]);
}

#[test]
fn list_and_describe_show_what_is_wired() {
    let project = Project::new();
    let output = project.run(&["list"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for part in ["copy-lines", "input", "json-lines", "source", "gate"] {
        assert!(stdout(&output).contains(part), "{part:?} is missing in:\n{}", stdout(&output));
    }
    let output = project.run(&["describe", "--format", "json"]);
    let described: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(described.to_string().contains("\"concurrency\":2"), "{described}");
    assert!(stdout(&project.run(&["describe", "--format", "mermaid"])).contains("copy-lines"));
}

#[test]
fn every_log_line_inside_a_transaction_carries_its_ids() {
    let project = Project::new();
    project.write("lines.jsonl", "{\"n\":1}\n{\"n\":2,\"fails\":true}\n");
    let format = "\n[telemetry]\nformat = \"json\"\nlevel = \"debug\"\n";
    project.write("ergon.toml", &format!("{SETTINGS}{format}"));
    let said = stderr(&project.run(&["run", "copy-lines"]));
    // Two transactions run at the same time, so the test finds the lines of one transaction by their ids.
    let logged = |text: &str, id: &str| -> Value {
        let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut fitting =
            lines.filter(|line| line["transaction_id"] == id && line.to_string().contains(text));
        fitting.next().unwrap_or_else(|| panic!("no line {text:?} of {id} in:\n{said}"))
    };
    let own = logged("copying", "lines.jsonl:1");
    assert_eq!(own["task"], "copy-lines", "{own}");
    assert_eq!((&own["step"], &own["attempt"]), (&"process".into(), &1.into()), "{own}");
    assert_eq!(own["n"], 1, "the user's own field");
    assert_eq!(logged("inside", "lines.jsonl:1")["step"], "process", "also inside run_fn");
    logged("transaction failed", "lines.jsonl:2");
}

#[test]
fn pretty_log_lines_carry_the_ids_too() {
    let project = Project::new();
    let said = stderr(&project.run(&["run", "copy-lines"]));
    let own = "copying task=copy-lines transaction_id=lines.jsonl:1 ";
    let line = said.lines().find(|line| line.contains(own)).expect(&said);
    for part in ["step=process", "attempt=1", "n=0"] {
        assert!(line.contains(part), "{part:?} is missing in: {line}");
    }
}

#[test]
fn describe_says_who_set_each_value() {
    let project = Project::new();
    let settings = format!(
        "{SETTINGS}\n[tasks.copy-lines]\nworkers = 3\n\n[tasks.copy-lines.consumer.process]\nmax_attempts = 4\n"
    );
    project.write("ergon.toml", &settings);
    let mut command = project.command(&["describe"]);
    command.env("ERGON_TASKS__COPY_LINES__CONSUMER__BATCH_SIZE", "7");
    let text = stdout(&command.output().unwrap());
    let layer = |key: &str| {
        let line = text.lines().find(|line| line.trim().starts_with(&format!("{key} = ")));
        let line = line.unwrap_or_else(|| panic!("no {key}: {text}"));
        let (value, layer) = line.split_once('#').unwrap();
        (value.trim().to_owned(), layer.trim().to_owned())
    };
    let set = |key: &str, value: &str, by: &str| {
        assert_eq!(layer(key), (format!("{key} = {value}"), by.to_owned()));
    };
    set("concurrency", "2", "#[ergon::task]");
    set("success.max_attempts", "2", "TaskConfig");
    set("process.max_attempts", "4", "ergon.toml:14:16");
    set("batch_size", "7", "environment variable ERGON_TASKS__COPY_LINES__CONSUMER__BATCH_SIZE");
    set("max_deliveries", "20", "default");
    set("workers", "3", "ergon.toml:11:11");
}

#[test]
fn check_is_well_where_all_opens_and_changes_nothing() {
    let project = Project::new();
    let emptied = SETTINGS.replace("\"copies.jsonl\"", "\"copies.jsonl\"\nappend = false");
    project.write("ergon.toml", &emptied);
    project.write("copies.jsonl", "of yesterday\n");
    let output = project.run(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let said = stdout(&output);
    let ok: Vec<_> = said.lines().filter(|line| line.starts_with("  ok ")).collect();
    assert_eq!(ok.len(), 3, "two connectors and a service: {said}");
    assert!(said.ends_with("no problems\n"), "{said}");
    assert_eq!(project.copies(), ["of yesterday"]);
    // A file that does not exist yet is not created either.
    project.write("ergon.toml", &SETTINGS.replace("copies.jsonl", "new/copies.jsonl"));
    assert_eq!(project.run(&["check"]).status.code(), Some(0));
    assert!(!project.0.path().join("new").exists());
}

#[test]
fn check_tells_all_problems_at_once_with_hints() {
    let project = Project::new();
    let wrong =
        SETTINGS.replace("lines.jsonl", "liens.jsonl").replace("copies.jsonl", "lines.jsonl/copies.jsonl");
    project.write("ergon.toml", &wrong);
    let output = project.run(&["check", "copy-lines"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stdout(&output);
    for part in [
        "  failed  input ",
        "liens.jsonl",
        "hint: did you mean `lines.jsonl`?",
        "  failed  output ",
        "2 problems",
    ] {
        assert!(said.contains(part), "{part:?} is missing in:\n{said}");
    }
    let json: Value = serde_json::from_str(&stdout(&project.run(&["check", "--format", "json"]))).unwrap();
    assert_eq!((&json["ok"], &json["problems"]), (&false.into(), &2.into()));
    assert_eq!(json["tasks"][0]["checks"][0]["hint"], "did you mean `lines.jsonl`?");
    let typo = project.run(&["check", "copy-line"]);
    assert_eq!(typo.status.code(), Some(2));
    assert!(stderr(&typo).contains("did you mean `copy-lines`?"), "{}", stderr(&typo));
}

/// The output of the program `worker` if none of its connectors can be built, and its service only in this folder.
fn ill_wired(books: &str, arguments: &[&str]) -> Output {
    let project = Project::new();
    let address = "url = \"amqp://[\"\nqueue = \"orders\"";
    let settings = format!(
        "[input]\nurl = \"ftp://broker\"\nqueue = \"orders\"\n[output]\n{address}\n[dead]\n{address}\n\
         [books]\nfolder = {books:?}\nwork_ms = 0\n"
    );
    project.write("ergon.toml", &settings);
    project.program(env!("CARGO_BIN_EXE_worker"), arguments).output().unwrap()
}

/// Whether each line starts with the next of the expected beginnings.
fn assert_in_turn(said: &str, beginnings: &[&str]) {
    let mut lines = said.lines();
    for beginning in beginnings {
        assert!(
            lines.any(|line| line.starts_with(beginning)),
            "{beginning:?} is missing, or too early:\n{said}"
        );
    }
}

#[test]
fn check_tells_all_that_cannot_be_built_and_tries_the_rest() {
    let output = ill_wired(".", &["check"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let [input, out] = [
        "`url` is not the address of a broker: it does not begin with",
        "`url` is not the address of a broker",
    ];
    let (input, out) = (format!("          {input}"), format!("          {out}"));
    let rows = ["  failed  input   rabbitmq", &input, "  failed  output  rabbitmq", &out, "  failed  dead "];
    assert_in_turn(&stdout(&output), &rows);
    assert_in_turn(&stdout(&output), &["  failed  dead ", "  ok      books   Books ", "3 problems"]);
    let output = ill_wired("nowhere", &["check", "--format", "json"]);
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let books = &json["tasks"][0]["checks"][3];
    assert_eq!(
        (&json["problems"], &books["name"], &books["ok"]),
        (&4.into(), &"books".into(), &false.into())
    );
    assert_eq!(books["causes"][0], "the ledger does not open");
}

#[test]
fn a_run_tells_all_that_cannot_be_built_before_it_opens_anything() {
    let output = ill_wired("nowhere", &["run", "work"]);
    assert_eq!(output.status.code(), Some(2));
    let errors = [
        "error: connector `input` (rabbitmq): ",
        " = hint: expected `amqp://",
        "error: connector `output` (rabbitmq): ",
        "error: connector `dead` (rabbitmq): ",
        "error: service `books`: the ledger does not open",
        " = because: ",
    ];
    assert_in_turn(&stderr(&output), &errors);
}

#[test]
fn one_transaction_is_found_by_its_id_and_processed() {
    let project = Project::new();
    let output = project.run(&["process-transaction-by-id", "copy-lines", "lines.jsonl:3"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("lines.jsonl:3: succeeded\n"), "{}", stdout(&output));
    assert_eq!(project.copies(), ["{\"n\":2}"]);
    let dry = project.run(&["process-transaction-by-id", "copy-lines", "lines.jsonl:4", "--dry-run"]);
    assert_eq!((dry.status.code(), project.copies().len()), (Some(0), 1), "{}", stderr(&dry));
}

#[test]
fn an_id_that_is_not_there_or_cannot_be_looked_for_is_exit_1() {
    let project = Project::new();
    let by_id = ["process-transaction-by-id", "copy-lines", "lines.jsonl:99"];
    let missing = project.run(&by_id);
    assert_eq!(missing.status.code(), Some(1));
    let told = "error: connector `input` (json-lines) has no transaction `lines.jsonl:99`\n";
    assert_eq!(stderr(&missing), told);
    project.write("ergon.toml", &SETTINGS.replace("\"lines.jsonl\"", "\"-\""));
    let unable = project.run(&by_id);
    assert_eq!(unable.status.code(), Some(1));
    assert!(
        stderr(&unable).contains("cannot find a transaction by its id\n = hint: "),
        "{}",
        stderr(&unable)
    );
}

/// The output of a program on a terminal of this width.
fn on_terminal(mut command: Command, columns: u16) -> String {
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&near).unwrap();
    unlockpt(&near).unwrap();
    let name = ptsname(&near, Vec::new()).unwrap();
    let far = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    tcsetwinsize(&far, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let screen = || Stdio::from(far.try_clone().unwrap());
    let mut child = command.stdout(screen()).stderr(screen()).env("TERM", "xterm").spawn().unwrap();
    // The end is reported only when no process holds the other side.
    drop((command, far));
    let mut shown = Vec::new();
    let mut near = File::from(near);
    let mut piece = [0; 4096];
    // On Linux the end of a terminal is an error.
    while let Ok(read @ 1..) = near.read(&mut piece) {
        shown.extend_from_slice(&piece[..read]);
    }
    child.wait().unwrap();
    String::from_utf8(shown).unwrap()
}

#[test]
fn a_file_that_is_read_is_not_written_to_by_the_same_task() {
    let project = Project::new();
    for append in ["", "\nappend = false"] {
        let same = format!("\"./lines.jsonl\"{append}");
        project.write("ergon.toml", &SETTINGS.replace("\"copies.jsonl\"", &same));
        let output = project.run(&["run", "copy-lines"]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let told = "connector `output` (json-lines): would write to lines.jsonl, which `input` reads";
        assert!(stderr(&output).contains(told), "{}", stderr(&output));
        let output = project.run(&["check"]);
        assert_eq!(output.status.code(), Some(1));
        let said = stdout(&output);
        let told =
            "          would write to lines.jsonl, which `input` reads\n          hint: name another file";
        assert!(said.contains("  failed  output ") && said.contains(told), "{said}");
        assert_eq!(
            std::fs::read_to_string(project.0.path().join("lines.jsonl")).unwrap().lines().count(),
            10
        );
    }
}

#[test]
fn a_file_that_is_read_is_not_written_to_by_another_name() {
    let project = Project::new();
    let at = |name: &str| project.0.path().join(name);
    std::fs::create_dir(at("folder")).unwrap();
    std::os::unix::fs::symlink("lines.jsonl", at("symbolic.jsonl")).unwrap();
    std::os::unix::fs::symlink("..", at("folder/back")).unwrap();
    std::fs::hard_link(at("lines.jsonl"), at("hard.jsonl")).unwrap();
    for other in ["symbolic.jsonl", "folder/back/lines.jsonl", "hard.jsonl"] {
        let same = format!("\"{other}\"\nappend = false");
        project.write("ergon.toml", &SETTINGS.replace("\"copies.jsonl\"", &same));
        let output = project.run(&["run", "copy-lines"]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let told = format!("would write to {other}, the same file as lines.jsonl, which `input` reads");
        assert!(stderr(&output).contains(&told), "{}", stderr(&output));
        assert_eq!(std::fs::read_to_string(at("lines.jsonl")).unwrap().lines().count(), 10);
    }
}

#[test]
fn a_pipe_is_read_whole_by_one_worker_and_refused_to_several() {
    let project = Project::new();
    project.write("ergon.toml", &SETTINGS.replace("\"lines.jsonl\"", "\"/dev/stdin\""));
    let run = |workers: &str| {
        let mut command =
            project.command(&["run", "copy-lines", "--log-level", "warn", "--workers", workers]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // More than a pipe and a reader's buffer hold. None of several workers reads.
        let lines = "{\"n\":1}\n".repeat(30_000);
        let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
        child.wait_with_output().unwrap()
    };
    let output = run("3");
    let told = "/dev/stdin is not a regular file and cannot be shared by several workers";
    assert!(stderr(&output).contains(told), "{}", stderr(&output));
    assert_eq!((output.status.code(), project.copies().len()), (Some(2), 0));
    let output = run("1");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(project.copies().len(), 30_000, "nothing else reads from it");
}

#[test]
fn a_run_whose_reader_leaves_gives_back_what_nobody_read_and_refuses_nothing() {
    let project = Project::new();
    project.write("ergon.toml", &SETTINGS.replace("\"copies.jsonl\"", "\"-\""));
    // More than a pipe holds.
    project.lines(0..50_000);
    let arguments = ["run", "copy-lines", "--log-level", "error"];
    let mut child =
        project.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("{\"n\":"), "{first}");
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: no process reads standard output any more"), "{said}");
    assert!(!said.contains(" failed (") && !said.contains("rejected."), "{said}");
}

#[test]
fn a_run_that_does_not_begin_leaves_the_outputs_as_they_are() {
    let project = Project::new();
    let settings = SETTINGS.replace("\"copies.jsonl\"", "\"copies.jsonl\"\nappend = false");
    project.write("ergon.toml", &settings.replace("\"lines.jsonl\"", "\"nope.jsonl\""));
    project.write("copies.jsonl", "of yesterday\n");
    let output = project.run(&["run", "copy-lines"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert_eq!(project.copies(), ["of yesterday"]);
    project.write("ergon.toml", &settings);
    project.write("lines.jsonl", "");
    assert_eq!(project.run(&["run", "copy-lines"]).status.code(), Some(0));
    assert!(project.copies().is_empty(), "a run that wrote nothing has an empty output");
}

#[test]
fn a_transaction_by_hand_is_added_to_what_runs_wrote() {
    let project = Project::new();
    project.write("ergon.toml", &SETTINGS.replace("\"copies.jsonl\"", "\"copies.jsonl\"\nappend = false"));
    project.run(&["run", "copy-lines"]);
    assert_eq!(project.run(&["run", "copy-lines"]).status.code(), Some(0));
    assert_eq!(project.copies().len(), 10, "each run begins anew");
    let one = ["process-transaction", "copy-lines", "--payload-json", r#"{"n":41}"#];
    for (command, copies) in [
        (&one[..], 11),
        (&["process-transaction-by-id", "copy-lines", "lines.jsonl:3"], 12),
        (&["process-transaction-by-id", "copy-lines", "lines.jsonl:99"], 12),
    ] {
        let output = project.run(command);
        assert_eq!(project.copies().len(), copies, "{command:?}: {}", stderr(&output));
    }
}

#[test]
fn help_fits_the_terminal() {
    let project = Project::new();
    let width = |columns: u16| {
        let shown = on_terminal(project.command(&["--help"]), columns);
        assert!(shown.contains("Examples:"), "{shown}");
        shown.lines().map(|line| line.trim_end().chars().count()).max().unwrap()
    };
    assert!(width(40) <= 40 && width(100) > 40 && width(100) <= 100);
}

#[test]
fn colour_is_for_a_terminal_that_wants_it() {
    let project = Project::new();
    let typo = ["run", "copy-line"];
    let red = "\u{1b}[31;1merror\u{1b}[0m: there is no task";
    let plain = "error: there is no task";
    assert!(on_terminal(project.command(&typo), 80).starts_with(red));
    let mut without = project.command(&typo);
    without.env("NO_COLOR", "1");
    assert!(on_terminal(without, 80).starts_with(plain));
    let never = ["run", "copy-line", "--color", "never"];
    assert!(on_terminal(project.command(&never), 80).starts_with(plain));
    assert!(stderr(&project.run(&typo)).starts_with(plain));
    assert!(stderr(&project.run(&["run", "copy-line", "--color", "always"])).starts_with(red));
}

#[test]
fn a_run_is_in_colour_only_on_a_terminal_that_wants_it() {
    let project = Project::new();
    project.write("lines.jsonl", "{\"n\":1,\"fails\":true}\n{\"n\":2}\n");
    let is_colour =
        |code: &str| code.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m');
    let coloured = |shown: &str| shown.split("\u{1b}[").skip(1).any(is_colour);
    let said = on_terminal(project.command(&["run", "copy-lines"]), 80);
    assert!(coloured(&said) && said.contains("\u{1b}[33;1mwarning\u{1b}[0m: copy-lines: "), "{said}");
    for columns in [40, 80] {
        let plain = on_terminal(project.command(&["run", "copy-lines", "--color", "never"]), columns);
        assert!(!coloured(&plain) && plain.contains("(business): this line fails"), "{plain}");
    }
    assert!(!coloured(&stderr(&project.run(&["run", "copy-lines"]))));
}

#[test]
fn completions_and_the_man_page_are_written_without_a_project() {
    let folder = TempDir::new().unwrap();
    let bash = Command::new(env!("CARGO_BIN_EXE_pipeline"))
        .args(["completions", "bash"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(bash.status.code(), Some(0), "{}", stderr(&bash));
    // The shell itself says whether it understands the script.
    let mut shell = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(&bash.stdout).unwrap();
    assert!(shell.wait().unwrap().success());
    assert!(stdout(&bash).contains("dead-letters"));
}

#[test]
fn nobody_counts_where_no_total_is_shown() {
    let project = Project::new();
    let lines = project.0.path().join("lines.jsonl");
    std::fs::remove_file(&lines).unwrap();
    // A count would open the pipe too, and take lines out of it or wait for more lines.
    let made = Command::new("mkfifo").arg(&lines).status().unwrap();
    assert!(made.success());
    let writer = std::thread::spawn(move || {
        let mut pipe = File::options().write(true).open(lines).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        pipe.write_all(b"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n").unwrap();
    });
    let began = Instant::now();
    let output = project.run(&["run", "copy-lines", "--quiet"]);
    writer.join().unwrap();
    assert_eq!((output.status.code(), project.copies().len()), (Some(0), 3), "{}", stderr(&output));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[test]
fn no_value_of_a_variable_is_shown_by_any_command() {
    let project = Project::new();
    for line in [
        "ERGON_LINES__PATH=amqp://u:S3cr3t pw@h",
        "ERGON_LINES__MAX_LINE=S3cr3t",
        "ERGON_LINES='{ S3cr3t = 1 }'",
    ] {
        project.write(".env", &format!("# local\nMOTD=it's two words\n{line}\n"));
        for command in [&["run", "copy-lines"][..], &["check"], &["describe"], &["list", "--format", "json"]]
        {
            let output = project.run(command);
            let said = format!("{}{}", stdout(&output), stderr(&output));
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(!said.contains("S3cr3t") && said.contains(".env:3:"), "{said}");
        }
    }
    let mut command = project.command(&["run", "copy-lines"]);
    project.write(".env", "");
    for name in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] {
        command.env(name, "http://u:S3cr3t pw@h");
    }
    let output = command.output().unwrap();
    let said = format!("{}{}", stdout(&output), stderr(&output));
    assert!(output.status.code() == Some(2) && !said.contains("S3cr3t"), "{said}");
    assert!(
        said.contains("environment variable OTEL_EXPORTER_OTLP_TRACES_ENDPOINT does not hold the address"),
        "{said}"
    );
}

#[test]
fn lines_of_other_programs_end_no_command_and_are_reported_once() {
    let project = Project::new();
    project.write(
        ".env",
        "MOTD=two words\nset -a\nERGON_COPIES__PATH=${OUT:-other.jsonl}\nOTEL_SERVICE_NAME=a b\n",
    );
    let mut command = project.command(&["run", "copy-lines", "--workers", "2"]);
    let output = command.env("OTEL_RESOURCE_ATTRIBUTES", "a=1,b").output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for told in [
        ".env: line 2 is ignored: expected NAME=value",
        "OTEL_SERVICE_NAME is ignored: a value without quotes contains a space",
        "OTEL_RESOURCE_ATTRIBUTES: part 2 is ignored: expected name=value",
    ] {
        assert_eq!(said.matches(told).count(), 1, "{told} in:\n{said}");
    }
    let copies = std::fs::read_to_string(project.0.path().join("other.jsonl")).unwrap();
    assert_eq!(copies.lines().count(), 10);
}

#[test]
fn one_underscore_in_a_variable_is_a_mistake_with_its_remedy() {
    let project = Project::new();
    let mut command = project.command(&["list"]);
    let output = command.env("ERGON_LINES_PATH", "S3cr3t").output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("did you mean ERGON_LINES__PATH?") && !said.contains("S3cr3t"), "{said}");
}

#[test]
fn describe_shows_one_task_and_suggests_its_name() {
    let project = Project::new();
    let output = project.run(&["describe", "copy-lines"]);
    assert!(output.status.success() && stdout(&output).starts_with("copy-lines\n"), "{}", stderr(&output));
    let graph = project.run(&["describe", "copy-lines", "--format", "mermaid"]);
    assert!(stdout(&graph).contains("copy-lines"), "{}", stderr(&graph));
    let output = project.run(&["describe", "copy-lnies"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), String::new()));
    assert!(stderr(&output).contains("did you mean `copy-lines`?"), "{}", stderr(&output));
}

#[test]
fn a_misspelt_command_is_suggested_at_any_depth() {
    let project = Project::new();
    for (arguments, meant) in [
        (&["rnu", "copy-lines"][..], "'run'"),
        (&["dead-letters", "lits", "copy-lines"], "'list'"),
        (&["--quiet", "descirbe"], "'describe'"),
    ] {
        let output = project.run(arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(meant), "{arguments:?}: {}", stderr(&output));
    }
    for (arguments, meant) in [(&["nwe", "shop"][..], "'new'"), (&["generate", "tsak", "x"], "'task'")] {
        let output = project.program(env!("CARGO_BIN_EXE_ergon_program"), arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(meant), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn check_tries_where_a_sink_would_write() {
    let project = Project::new();
    std::fs::create_dir(project.0.path().join("folder.jsonl")).unwrap();
    for (path, code) in [
        ("copies.jsonl", 0),
        ("new/folder/copies.jsonl", 0),
        ("folder.jsonl", 1),
        ("ergon.toml/copies.jsonl", 1),
        ("lines.jsonl/copies.jsonl", 1),
    ] {
        let mut command = project.command(&["check", "copy-lines"]);
        let output = command.env("ERGON_COPIES__PATH", path).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{path}: {}", stdout(&output));
    }
    let names = std::fs::read_dir(project.0.path()).unwrap();
    assert_eq!(names.count(), 3, "nothing was made");
}
