//! Tests named pipes as source and sink: neither hangs, and each line that is written into a pipe arrives.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::sinks::{Project, ended, numbered, said};

fn pipe(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Writes lines into a pipe, as a program does that starts before the run.
fn writer(path: &Path, lines: u32) -> std::thread::JoinHandle<std::io::Result<()>> {
    let (path, text) = (path.to_owned(), numbered(lines));
    std::thread::spawn(move || fs::write(path, text))
}

#[test]
fn what_is_written_into_a_pipe_is_read_whole() {
    let project = Project::new(0, "path = \"copies.jsonl\"");
    project.open();
    let input = project.at("lines.jsonl");
    pipe(&input);
    // A comparison by names takes both for files.
    fs::write(project.at("copies.jsonl"), "").unwrap();
    // More than a pipe holds.
    let writer = writer(&input, 20_000);
    let output = ended(project.start());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    writer.join().unwrap().unwrap();
    assert_eq!(project.read("copies.jsonl").lines().count(), 20_000, "{}", said(&output));
}

#[test]
fn what_is_written_to_a_pipe_arrives_whole() {
    let project = Project::new(20_000, "path = \"copies\"");
    project.open();
    let path = project.at("copies");
    pipe(&path);
    let reader = std::thread::spawn(move || fs::read_to_string(path).unwrap());
    let output = ended(project.start());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(reader.join().unwrap().lines().count(), 20_000);
}

#[test]
fn a_run_from_pipe_to_pipe_passes_all_on() {
    let project = Project::new(0, "path = \"copies\"");
    project.open();
    let (input, out) = (project.at("lines.jsonl"), project.at("copies"));
    pipe(&input);
    pipe(&out);
    let writer = writer(&input, 5_000);
    let reader = std::thread::spawn(move || fs::read_to_string(out).unwrap());
    let output = ended(project.start());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    writer.join().unwrap().unwrap();
    assert_eq!(reader.join().unwrap().lines().count(), 5_000);
}

#[test]
fn a_pipe_is_not_written_to_by_the_task_that_reads_it() {
    let project = Project::new(0, "path = \"lines.jsonl\"");
    pipe(&project.at("lines.jsonl"));
    let output = ended(project.start());
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("would write to lines.jsonl, which `input` reads"), "{}", said(&output));
}

#[test]
fn a_check_and_a_run_that_does_not_begin_leave_a_pipe_alone() {
    let project = Project::new(0, "path = \"copies.jsonl/x\"");
    project.open();
    let input = project.at("lines.jsonl");
    pipe(&input);
    fs::write(project.at("copies.jsonl"), "").unwrap();
    let writer = writer(&input, 10);
    let shell = "exec \"$0\" \"$@\"";
    for (arguments, code) in [(&["check"][..], 1), (&["run", "copy-lines"], 2), (&["describe"], 0)] {
        let mut command = project.shell(shell, arguments);
        let output = ended(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
    }
    // The writer still waits for its reader, and loses no line.
    let right = project.read("ergon.toml").replace("copies.jsonl/x", "copies.jsonl");
    fs::write(project.at("ergon.toml"), right).unwrap();
    let output = ended(project.start());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    writer.join().unwrap().unwrap();
    assert_eq!(project.read("copies.jsonl").lines().count(), 10);
}

#[test]
fn a_pipe_is_for_one_worker() {
    let project = Project::new(10, "path = \"copies\"");
    project.open();
    pipe(&project.at("copies"));
    let mut command = project.shell("exec \"$0\" \"$@\"", &["run", "copy-lines", "--workers", "2"]);
    let output = ended(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("cannot be shared by several workers"), "{}", said(&output));
}
