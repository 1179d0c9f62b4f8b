//! Tests several worker processes: each transaction belongs to a worker, a dead worker is replaced, all workers stop
//! together, and no worker process remains.

use std::os::unix::process::CommandExt;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use ergon_tests::broker::{Broker, Queues};
use ergon_tests::crew::{PATIENCE, Running, Site, lives, send, wait};
use ergon_tests::ledger::{Entry, Event};
use ergon_tests::until;
use rust_xlsxwriter::Workbook;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

fn site(settings: &str) -> Site {
    Site::new(env!("CARGO_BIN_EXE_crew"), Duration::from_millis(2), settings)
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

const QUIET: [&str; 4] = ["--quiet", "--format", "json", "run"];

fn quiet<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    QUIET.into_iter().chain(rest.iter().copied()).collect()
}

#[test]
fn four_workers_process_each_row_of_a_workbook_once() {
    let site = site("");
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet();
    sheet.write(0, 0, "n").unwrap();
    for row in 1..=403 {
        sheet.write(row, 0, row).unwrap();
    }
    workbook.save(site.path().join("rows.xlsx")).unwrap();
    let output = site.run(&quiet(&["rows", "--workers", "4"]));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let counts = site.counts();
    assert_eq!(counts.len(), 403);
    assert!(counts.values().all(|count| *count == (1, 1)), "{counts:?}");
    assert_eq!(site.pids().len(), 4, "all four took part");
    let summary = json(&output);
    assert_eq!((&summary["processed"], &summary["tasks"][0]["workers"]), (&403.into(), &4.into()));
}

#[test]
fn the_summary_adds_up_what_all_workers_did() {
    let site = site("");
    site.lines((0..101).map(|n| if n % 10 == 0 { "fail" } else { "nothing" }));
    for task in ["lines", "threads"] {
        let output = site.run(&quiet(&[task, "--workers", "3"]));
        let summary = json(&output);
        let task = &summary["tasks"][0];
        assert_eq!((task["processed"].as_u64(), task["succeeded"].as_u64()), (Some(101), Some(90)));
        assert_eq!(task["failed_by_category"]["business"], 11);
        assert_eq!(task["steps"]["process"]["count"], 101, "the times of all are merged");
        assert!(task["steps"]["process"]["p50_seconds"].as_f64().unwrap() >= 0.002);
        assert_eq!((&task["ended"], &task["restarts"]), (&"source_empty".into(), &0.into()));
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn all_tasks_of_a_run_have_processes_of_their_own_when_one_has_several() {
    let site = site("[tasks.lines]\nworkers = 2\n");
    site.lines(["nothing"; 40]);
    let output = site.run(&quiet(&["lines", "threads"]));
    let summary = json(&output);
    let workers: Vec<_> =
        summary["tasks"].as_array().unwrap().iter().map(|task| task["workers"].as_u64().unwrap()).collect();
    assert_eq!((workers, output.status.code()), (vec![2, 1], Some(0)));
    assert_eq!(site.pids().len(), 3);
    assert!(site.counts().values().all(|count| *count == (2, 2)), "each line once for each task");
}

#[test]
fn the_workers_together_obey_the_limit() {
    let site = site("");
    site.lines(["nothing"; 50]);
    let output = site.run(&quiet(&["lines", "--workers", "3", "--limit", "10"]));
    assert_eq!(json(&output)["fetched"], 10);
    assert_eq!(site.counts().len(), 10);
}

/// Lines of which only every third, from the first on, is not blank.
fn every_third(count: usize) -> String {
    (0..count).map(|_| "{\"does\":\"nothing\"}\n\n\n").collect()
}

#[test]
fn the_limit_is_exact_where_some_workers_find_nothing() {
    for task in ["lines", "threads"] {
        let site = site("");
        site.write("lines.jsonl", &every_third(20));
        let output = site.run(&quiet(&[task, "--workers", "3", "--limit", "10"]));
        let summary = json(&output);
        let ended = &summary["tasks"][0]["ended"];
        assert_eq!((&summary["fetched"], ended), (&10.into(), &"limit_reached".into()), "{summary}");
        assert_eq!((site.counts().len(), output.status.code()), (10, Some(0)));
    }
}

#[test]
fn the_limit_is_said_to_be_reached_only_when_it_is() {
    let site = site("");
    site.write("lines.jsonl", &every_third(8));
    for (limit, fetched, ended) in [
        ("10", 8, "source_empty"),
        ("8", 8, "limit_reached"),
        ("1", 1, "limit_reached"),
        ("0", 0, "limit_reached"),
    ] {
        let summary = json(&site.run(&quiet(&["lines", "--workers", "3", "--limit", limit])));
        let task = &summary["tasks"][0];
        assert_eq!((&task["fetched"], &task["ended"]), (&fetched.into(), &ended.into()), "{limit}: {task}");
    }
}

#[test]
fn what_a_dead_worker_fetched_last_counts_for_the_limit() {
    for _ in 0..5 {
        let site = site("[tasks.lines.consumer]\nconcurrency = 1\nprefetch = 0\nbatch_size = 1\n");
        site.lines((0..60).map(|n| if n == 4 { "abort-once" } else { "nothing" }));
        let output = site.run(&quiet(&["lines", "--workers", "2", "--limit", "20"]));
        let summary = json(&output);
        let begun: usize = site.counts().values().map(|(begun, _)| begun).sum();
        let restarts = &summary["tasks"][0]["restarts"];
        assert_eq!((begun, &summary["fetched"], restarts), (20, &20.into(), &1.into()), "{summary}");
        assert_eq!(summary["tasks"][0]["ended"], "limit_reached");
    }
}

#[test]
fn a_worker_that_waits_for_data_does_not_keep_its_part_of_the_limit_from_the_others() {
    let site = site("[tasks.lines.consumer]\nconcurrency = 1\nbatch_size = 1\n");
    // The first line of the first worker waits at the gate, for as long as the other workers may need its grant.
    site.lines((0..60).map(|n| if n == 0 { "gate" } else { "nothing" }));
    let mut command = site.command(&quiet(&["lines", "--workers", "2", "--limit", "12"]));
    let shown = std::fs::File::create(site.path().join("shown")).unwrap();
    let mut run = Running::new(command.stdout(shown).stderr(Stdio::piped()).spawn().unwrap());
    // One line is at the gate, and the prefetched lines wait behind it. The other worker has the rest of the limit.
    let ended = || site.counts().values().filter(|(_, ended)| *ended > 0).count();
    wait("all that are free", || ended() >= 10);
    site.write("gate", "");
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(0), "{said}");
    let summary: Value =
        serde_json::from_str(&std::fs::read_to_string(site.path().join("shown")).unwrap()).unwrap();
    assert_eq!((&summary["fetched"], site.counts().len()), (&12.into(), 12), "{summary}");
}

#[test]
fn a_worker_in_the_place_of_another_has_what_is_left_of_the_limit() {
    let site = site("[tasks.lines.consumer]\nbatch_size = 3\nprefetch = 1\n");
    site.lines(["gate"; 40]);
    let mut command = site.command(&quiet(&["lines", "--workers", "2", "--limit", "10"]));
    let shown = std::fs::File::create(site.path().join("shown")).unwrap();
    let mut run = Running::new(command.stdout(shown).stderr(Stdio::piped()).spawn().unwrap());
    // Each worker has two lines at the gate.
    site.until_entries(4);
    send(site.pids()[0], Signal::KILL);
    site.write("gate", "");
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(0), "{said}");
    let summary: Value =
        serde_json::from_str(&std::fs::read_to_string(site.path().join("shown")).unwrap()).unwrap();
    assert_eq!((&summary["fetched"], &summary["tasks"][0]["restarts"]), (&10.into(), &1.into()), "{summary}");
    let begun: usize = site.counts().values().map(|(begun, _)| begun).sum();
    assert!(begun <= 10, "{begun} were begun");
}

#[test]
fn a_worker_that_dies_is_replaced_and_nothing_is_lost() {
    let site = site("");
    site.lines((0..40).map(|n| if n == 21 { "abort-once" } else { "nothing" }));
    let output = site.run(&quiet(&["lines", "--workers", "2"]));
    assert_eq!(output.status.code(), Some(0));
    let task = &json(&output)["tasks"][0];
    assert_eq!((&task["restarts"], &task["ended"]), (&1.into(), &"source_empty".into()));
    let counts = site.counts();
    assert!(counts.len() == 40 && counts.values().all(|(_, ended)| *ended >= 1), "{counts:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("worker died") && said.contains("killed by signal 6"), "{said}");
}

#[test]
fn workers_that_are_killed_from_outside_are_replaced() {
    let site = site("");
    site.lines((0..30).map(|n| if n < 3 { "gate" } else { "nothing" }));
    let mut run = site.start(&quiet(&["lines", "--workers", "3"]));
    // The first line of each worker waits at the gate.
    wait("three workers", || site.pids().len() == 3);
    let killed = site.pids();
    for pid in killed {
        send(pid, Signal::KILL);
    }
    wait("three others", || site.pids().len() == 6);
    site.write("gate", "");
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(0), "{said}");
    let counts = site.counts();
    assert!(counts.len() == 30 && counts.values().all(|(_, ended)| *ended >= 1), "{counts:?}");
}

#[test]
fn what_a_worker_wrote_before_it_died_stays() {
    let site = site("[tasks.lines]\nworkers = 2\n");
    site.lines(["nothing"; 2]);
    let does = |does: &str| format!("{{\"does\":\"{does}\"}}\n");
    site.write("copied.jsonl", &(does("nothing").repeat(9) + &does("abort-once")));
    site.write("copies.jsonl", "of an earlier run\n");
    let output = site.run(&quiet(&["copies", "lines"]));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let copies = std::fs::read_to_string(site.path().join("copies.jsonl")).unwrap();
    // With `fsync = "each"` a dispatch is in the file when it returns, so at most two lines of the first worker are
    // missing: those in flight. The second worker starts with the first line again.
    assert!((18..=19).contains(&copies.lines().count()), "{copies}");
    assert!(!copies.contains("earlier"), "each run begins anew: {copies}");
}

#[test]
fn a_worker_that_is_told_to_stop_by_another_drains_and_is_replaced() {
    let site = site("");
    site.lines((0..20).map(|n| if n < 2 { "gate" } else { "nothing" }));
    let mut run = site.start(&quiet(&["lines", "--workers", "2"]));
    wait("two workers", || site.pids().len() == 2);
    send(site.pids()[0], Signal::TERM);
    site.write("gate", "");
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(site.counts().values().all(|(_, ended)| *ended >= 1) && site.counts().len() == 20);
}

#[test]
fn workers_that_die_too_often_end_the_run_with_the_cause() {
    let site = site("");
    site.lines(["abort"; 40]);
    let output = site.run(&["run", "lines", "--workers", "4", "--log-level", "error"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["workers die too often", "was killed by signal 6", "4 workers, "] {
        assert!(said.contains(part), "{part:?} is missing in:\n{said}");
    }
    let whole = "workers die too often: one died after 10 restarts within a minute";
    assert!(said.contains(whole) && said.contains("4 workers, 10 restarts"), "{said}");
    // The last worker may have been stopped before it wrote anything.
    assert!(site.pids().len() <= 14, "four, and ten in their places");
    assert!(!site.pids().into_iter().any(lives));
}

#[test]
fn workers_that_die_too_often_by_exit_0_end_the_run_with_exit_code_1() {
    for workers in ["1", "2", "4"] {
        let site = site("[tasks.threads]\nworkers = 2\n");
        site.lines((0..60).map(|n| if n % 2 == 0 { "exit" } else { "nothing" }));
        let arguments = match workers {
            // The task has one worker. Another task with two workers does the same.
            "1" => vec!["lines", "threads"],
            workers => vec!["lines", "--workers", workers],
        };
        let output =
            site.run(&[&["--format", "json", "--log-level", "error", "run"], &arguments[..]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{workers}: {said}");
        assert!(said.contains("workers die too often"), "{said}");
        let summary = json(&output);
        assert_eq!(summary["exit_code"], 1, "{summary}");
        let tasks = summary["tasks"].as_array().unwrap();
        assert!(tasks.iter().any(|task| task["ended"] == "failed"), "{summary}");
    }
}

#[test]
fn fail_when_is_judged_over_what_all_workers_did() {
    for (workers, condition, code) in [
        ("1", "rejected > 4%", 0),
        ("1", "rejected > 3.9%", 1),
        // A tenth of the first worker's lines is rejected.
        ("3", "rejected > 4%", 0),
        ("3", "rejected >= 4%", 1),
        ("3", "handler-failures > 0, dead_lettered > 0,unknown>0", 0),
        ("3", "handler-failures > 0, succeeded < 97", 1),
    ] {
        let site = site("[runner]\nfail_when = \"rejected > 0\"\n");
        site.lines((0..100).map(|n| if n % 30 == 0 { "fail" } else { "nothing" }));
        let arguments = ["--format", "json", "run", "lines", "--workers", workers, "--fail-when", condition];
        let output = site.run(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{workers} {condition}: {said}");
        let summary = json(&output);
        let task = &summary["tasks"][0];
        let holds = usize::from(code == 1);
        assert_eq!((&task["rejected"], &summary["exit_code"]), (&4.into(), &code.into()), "{summary}");
        assert_eq!(
            (&task["ended"], task["fail_when"].as_array().unwrap().len()),
            (&"source_empty".into(), holds)
        );
        assert_eq!(said.matches("error: task `lines`: the `fail_when` condition `").count(), holds, "{said}");
        assert_eq!(said.matches("  The `fail_when` condition `").count(), holds, "{said}");
    }
}

#[test]
fn fail_when_of_the_settings_counts_where_the_command_line_says_nothing_else() {
    let site = site("[runner]\nfail_when = \"rejected > 50%\"\n");
    site.lines(["fail", "nothing", "fail"]);
    let run = |rest: &[&str]| {
        let output = site.run(&[&["--quiet", "run", "lines"], rest].concat());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&[]);
    let told = "error: task `lines`: the `fail_when` condition `rejected > 50%` holds: 2 of 3 (66.66%)\n";
    assert!(code == Some(1) && said.ends_with(told), "{said}");
    assert_eq!(run(&["--fail-when", "none"]).0, Some(0));
    assert_eq!(run(&["--fail-when", "rejected > 70%"]).0, Some(0));
    let output = site.command(&["run", "lines"]).env("ERGON_RUNNER__FAIL_WHEN", "failed>2").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "the environment comes after the file");
}

#[test]
fn a_fail_when_that_cannot_be_read_says_where_and_what_was_expected() {
    let wrong = site("[runner]\nfail_when = \"rejectd > 5%\"\n");
    let output = wrong.run(&["run", "lines"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let told =
        "error: ergon.toml:2:13: runner.fail_when: there is no figure `rejectd`; did you mean `rejected`?";
    assert!(output.status.code() == Some(2) && said.starts_with(told), "{said}");
    let site = site("");
    for (written, told) in [
        ("rejected", "expected `>`, `>=`, `<`, `<=`, `=` or `!=` after `rejected`"),
        ("rejected > 5% failed > 1", "found `5% failed > 1`"),
        ("retries > 5%", "`retries` is not a part of the processed transactions"),
    ] {
        let output = site.run(&["run", "lines", "--fail-when", written]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(2) && said.contains(told) && said.contains("--fail-when"),
            "{said}"
        );
    }
}

#[test]
fn reasons_are_counted_alike_in_one_worker_and_in_several() {
    let site = site("");
    let names = ["pen", "ink", "paper", "a \\\"blue\\\" pen"];
    let line = |n: usize| {
        // Words without a digit, many of them different.
        let word: String = format!("{n:04}").bytes().map(|digit| char::from(b'g' + digit - b'0')).collect();
        let why = match n % 4 {
            0 => format!("order A-{n} has no price for \\\"{}\\\"", names[n / 4 % 3]),
            1 => format!("total -{n}.5 of order {:08x} is below 0", n * 7919),
            2 => format!("no such word: {word}"),
            _ => "the order has no items".to_owned(),
        };
        format!("{{\"does\":\"fail\",\"why\":\"{why}\"}}\n")
    };
    site.write("lines.jsonl", &(0..1200).map(line).collect::<String>());
    let reasons = |workers: &str| {
        let summary = json(&site.run(&quiet(&["lines", "--workers", workers])));
        (summary["tasks"][0]["reasons"].clone(), summary["tasks"][0]["reasons_exact"].clone())
    };
    let (one, exact) = reasons("1");
    let expected = serde_json::json!([
        {"message": "order … has no price for \"…\"", "count": 300},
        {"message": "the order has no items", "count": 300},
        {"message": "total … of order … is below …", "count": 300},
    ]);
    assert_eq!((&one.as_array().unwrap()[..3], &exact), (&expected.as_array().unwrap()[..], &true.into()));
    assert_eq!(reasons("3"), (one, exact));
}

#[test]
fn settings_that_cannot_work_are_told_once_and_nobody_is_started_again() {
    let site = site("");
    let output = site.run(&["run", "lines", "--workers", "3"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.matches("error: connector `input`").count(), 1, "{said}");
    assert!(!said.contains("a new worker replaces it"), "{said}");
}

#[test]
fn of_several_tasks_each_tells_once_what_does_not_open() {
    let output = site("").run(&["run", "lines", "threads", "--workers", "2"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for task in ["lines", "threads"] {
        let told = format!("error: task `{task}`: connector `input`");
        assert_eq!(said.matches(&told).count(), 1, "{said}");
    }
}

#[test]
fn a_stop_is_passed_on_and_what_is_in_flight_is_finished() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let site = site("");
        site.lines((0..40).map(|n| if n < 4 { "gate" } else { "nothing" }));
        let mut run = site.start(&["run", "lines", "--workers", "2", "--log-level", "warn"]);
        site.until_entries(4);
        run.signal(signal);
        run.until_said("stopping");
        site.write("gate", "");
        let (status, _, said) = run.end();
        assert_eq!(status.code(), Some(code), "{said}");
        assert!(site.counts().values().all(|count| *count == (1, 1)), "{:?}", site.counts());
        assert!(site.counts().len() < 40, "nothing more was begun");
        assert!(said.contains("stopping: draining 2 workers"), "{said}");
        assert_eq!(said.matches("stopping:").count(), 1, "{said}");
    }
}

#[test]
fn a_signal_to_the_whole_group_is_one_stop_not_two() {
    let site = site("");
    site.lines(["gate"; 8]);
    let mut command = site.command(&["run", "lines", "--workers", "2", "--quiet"]);
    let mut child = command.process_group(0).stdout(Stdio::null()).spawn().unwrap();
    site.until_entries(4);
    let group = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process_group(group, Signal::INT).unwrap();
    // The workers have received the signal twice by now, or will soon. In-flight work finishes all the same.
    site.write("gate", "");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let counts = site.counts();
    assert!(counts.values().all(|count| *count == (1, 1)), "{counts:?}");
}

#[test]
fn a_second_signal_ends_all_at_once() {
    let site = site("");
    site.lines(["hang"; 8]);
    let mut run = site.start(&["run", "lines", "--workers", "2"]);
    site.until_entries(4);
    run.signal(Signal::TERM);
    run.until_said("stopping");
    run.signal(Signal::TERM);
    let (status, took, said) = run.end();
    assert_eq!(status.code(), Some(143), "{said}");
    assert!(took < Duration::from_secs(5), "{took:?} of a grace of 25 s");
    let began = Instant::now();
    wait("the end of the workers", || !site.pids().into_iter().any(lives));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn no_worker_outlives_a_supervisor_that_is_killed() {
    let site = site(
        "[tasks.lines.consumer]\nshutdown_grace = \"500ms\"\n[tasks.threads.consumer]\nshutdown_grace = \"500ms\"\n",
    );
    site.lines((0..40).map(|n| if n % 2 == 0 { "hang" } else { "shout" }));
    let run = site.start(&["run", "lines", "threads", "--workers", "2", "--quiet"]);
    wait("four workers", || site.pids().len() == 4);
    run.signal(Signal::KILL);
    let began = Instant::now();
    wait("the end of the workers", || !site.pids().into_iter().any(lives));
    assert!(began.elapsed() < Duration::from_millis(1900), "{:?}", began.elapsed());
}

#[test]
fn workers_that_hang_while_they_are_built_leave_when_told_to_and_with_their_supervisor() {
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let site = site("[tasks.builds.consumer]\nshutdown_grace = \"500ms\"\n");
        let mut run =
            site.start_with(&["run", "builds", "--workers", "2"], &[("CREW_BUILDS", "hangs-in-a-worker")]);
        wait("two workers", || site.building().len() == 2);
        run.signal(signal);
        let (_, took, said) = run.end();
        assert!(took < Duration::from_millis(1500), "{took:?}: {said}");
        let began = Instant::now();
        wait("the end of the workers", || !site.building().into_iter().any(lives));
        assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    }
}

#[test]
fn the_index_of_its_worker_stands_in_each_line() {
    let site = site("[telemetry]\nformat = \"json\"\n");
    site.lines(["nothing"; 20]);
    let output = site.run(&["run", "lines", "--workers", "2"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let at_work: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |worker: u64| at_work.iter().filter(|line: &&Value| line["worker"] == worker).count();
    assert_eq!((of(0), of(1)), (10, 10), "{said}");
}

#[test]
fn workers_have_shards_of_their_own() {
    let site = site("");
    site.lines(["nothing"; 30]);
    site.run(&quiet(&["lines", "--workers", "3"]));
    let mut shares = std::collections::BTreeMap::<u32, Vec<usize>>::new();
    for Entry(id, _, pid, event, _) in site.ledger.entries() {
        if event == Event::Start {
            shares.entry(pid).or_default().push(id.rsplit(':').next().unwrap().parse().unwrap());
        }
    }
    for lines in shares.values() {
        assert!(lines.iter().all(|line| line % 3 == lines[0] % 3), "{shares:?}");
    }
}

#[test]
fn a_producer_that_asks_for_its_share_makes_each_item_once_and_one_that_does_not_is_warned_of() {
    for (shares, made, warned) in [("true", 20, 0), ("false", 10, 1)] {
        let site = site("");
        site.write("gate", "");
        // As many transactions as the limit, each made once or twice.
        site.lines(vec!["nothing"; if shares == "true" { 20 } else { 10 }]);
        let mut command = site.command(&["run", "makes", "--workers", "2", "--limit", "20"]);
        let output = command.env("ERGON_BOOKS__SHARES", shares).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        let counts = site.counts();
        let times = 20 / made;
        assert_eq!(counts.len(), made, "{counts:?}");
        assert!(counts.values().all(|count| *count == (times, times)), "{counts:?}");
        assert_eq!(said.matches("each worker produces the whole stream").count(), warned, "{said}");
    }
}

#[cfg_attr(not(rabbitmq_server), ignore = "rabbitmq-server was not found when this was built")]
#[tokio::test(flavor = "multi_thread")]
async fn the_limit_is_exact_over_competing_consumers() {
    let broker = Broker::start().await;
    for (round, mode) in [&["--once"][..], &["--once"], &[]].into_iter().enumerate() {
        let site = Site::new(env!("CARGO_BIN_EXE_worker"), Duration::ZERO, "");
        site.write("ergon.toml", &Queues::settings(&broker.url(), site.path(), ""));
        let queues = Queues::declare(&broker).await;
        // Ids that no test of this broker has used, none of which ends with 7.
        let ids = (0..30).map(|n| format!("{round}{n:05}0"));
        queues.fill(ids, &site.ledger).await;
        let output = site.run(&quiet(&[&["work", "--workers", "3", "--limit", "10"], mode].concat()));
        let summary = json(&output);
        let task = &summary["tasks"][0];
        assert_eq!((&task["fetched"], &task["ended"]), (&10.into(), &"limit_reached".into()), "{summary}");
        let began = site.counts().values().filter(|(begun, _)| *begun > 0).count();
        assert_eq!((began, output.status.code()), (10, Some(0)), "{summary}");
        until("the rest is back", PATIENCE, async || queues.ready("input").await == 20).await;
        queues.drain("input").await;
    }
}

#[cfg_attr(not(rabbitmq_server), ignore = "rabbitmq-server was not found when this was built")]
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_its_workers_is_dead_lettered_with_the_reason() {
    let broker = Broker::start().await;
    let site = Site::new(env!("CARGO_BIN_EXE_worker"), Duration::ZERO, "");
    let settings =
        "[tasks.work.consumer]\nmax_deliveries = 3\nconcurrency = 1\nprefetch = 0\nbatch_size = 1\n";
    site.write("ergon.toml", &Queues::settings(&broker.url(), site.path(), settings));
    let queues = Queues::declare(&broker).await;
    let ids = (0..40).map(|n| if n == 20 { "kills-000020".to_owned() } else { format!("{:06}", n * 10) });
    queues.fill(ids, &site.ledger).await;
    let mut run = site.start(&["run", "work", "--workers", "2", "--log-level", "warn"]);
    let copied = async || queues.ready("output").await == 39 && queues.ready("dead").await == 1;
    until("all but one are copied, and that one is dead", PATIENCE, copied).await;
    run.signal(Signal::TERM);
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(143), "{said}");
    assert!(said.contains("worker died"), "{said}");
    let begun = site.counts()["kills-000020"].0;
    assert_eq!(begun, 3, "it was tried as often as `max_deliveries` says");
    let (id, error) = queues.dead_letter().await;
    assert_eq!(id, "kills-000020");
    assert!(error.contains("delivered 4 times, more than `max_deliveries` = 3 allows"), "{error}");
}
