//! Tests the health of a process, over HTTP and for systemd.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use ergon_tests::crew::{PATIENCE, Site, send, wait};
use rustix::process::Signal;

/// A program that answers on its own port.
struct Asked {
    site: Site,
    port: u16,
}

fn asked(settings: &str) -> Asked {
    // The port was free a moment ago, and the system does not assign it again soon.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let runner = format!("{settings}\n[runner]\nhealth = \"127.0.0.1:{port}\"\n");
    Asked { site: Site::new(env!("CARGO_BIN_EXE_crew"), Duration::from_millis(1), &runner), port }
}

impl Asked {
    /// The status and the body of a response; none if there is no response.
    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    fn until(&self, path: &str, status: u16) -> String {
        let mut body = None;
        wait(&format!("{path} {status}"), || {
            body = self.get(path).filter(|(found, _)| *found == status).map(|(_, body)| body);
            body.is_some()
        });
        body.unwrap()
    }
}

const STREAMING: &str = "[tasks.lines.consumer]\nstreaming = true\n";

#[test]
fn a_process_that_waits_for_work_is_alive_and_ready() {
    for workers in ["1", "2"] {
        let asked = asked(STREAMING);
        asked.site.lines(["nothing"; 10]);
        let mut run = asked.site.start(&["run", "lines", "--workers", workers]);
        assert_eq!(asked.until("/readyz", 200), "ready\n");
        assert_eq!(asked.get("/healthz"), Some((200, "ok\n".to_owned())));
        assert_eq!(asked.get("/other").unwrap().0, 404);
        run.signal(Signal::TERM);
        assert_eq!(run.end().0.code(), Some(143));
        assert_eq!(asked.get("/healthz"), None);
    }
}

#[test]
fn a_process_that_drains_is_alive_and_not_ready() {
    for workers in ["1", "2"] {
        let asked = asked("");
        asked.site.lines(["gate"; 8]);
        let mut run = asked.site.start(&["run", "lines", "--workers", workers]);
        asked.site.until_entries(2);
        assert_eq!(asked.until("/readyz", 200), "ready\n");
        run.signal(Signal::TERM);
        assert_eq!(asked.until("/readyz", 503), "draining\n");
        assert_eq!(asked.get("/healthz").unwrap().0, 200);
        asked.site.write("gate", "");
        assert_eq!(run.end().0.code(), Some(143));
    }
}

#[test]
fn what_was_measured_can_be_asked_for_of_one_process_and_of_several_together() {
    for workers in ["1", "2"] {
        let asked = asked(STREAMING);
        asked.site.lines(["nothing"; 10]);
        let mut run = asked.site.start(&["run", "lines", "--workers", workers]);
        let series = |text: &str| -> Vec<String> {
            let succeeded = |line: &&str| {
                line.starts_with("ergon_transactions_total{") && line.contains("outcome=\"succeeded\"")
            };
            text.lines().filter(succeeded).map(str::to_owned).collect()
        };
        let mut text = String::new();
        wait("all ten are counted", || {
            text = asked
                .get("/metrics")
                .filter(|(status, _)| *status == 200)
                .map(|(_, body)| body)
                .unwrap_or_default();
            let counts =
                series(&text).into_iter().filter_map(|line| line.rsplit(' ').next()?.parse::<u32>().ok());
            counts.sum::<u32>() == 10
        });
        assert_eq!(text.matches("# TYPE ergon_transactions_total ").count(), 1, "{text}");
        let series = series(&text);
        match workers {
            "1" => assert!(series.len() == 1 && !series[0].contains("worker="), "{series:?}"),
            _ => assert!(series.iter().all(|line| line.contains("worker=\"")), "{series:?}"),
        }
        run.signal(Signal::TERM);
        assert_eq!(run.end().0.code(), Some(143));
    }
}

#[test]
fn it_answers_while_handlers_hold_every_thread() {
    let asked = asked("");
    asked.site.lines(["hold", "hold"]);
    let run = asked.site.start_with(&["run", "lines"], &[("TOKIO_WORKER_THREADS", "1")]);
    asked.site.until_entries(1);
    // Nothing else happens in the process. Each of many clients gets a response all the same.
    let clients: Vec<_> = (0..50).map(|_| asked.get("/healthz").unwrap().0).collect();
    assert!(clients.iter().all(|status| *status == 200), "{clients:?}");
    run.signal(Signal::KILL);
}

#[test]
fn a_connector_that_panics_when_it_is_asked_is_not_well() {
    let asked = asked("[tasks.brittle.consumer]\nstreaming = true\n[clay]\npanics = \"health\"\n");
    let mut run = asked.site.start(&["run", "brittle"]);
    let unready = "brittle: connector `input`: panicked at tests/src/bin/crew.rs:";
    wait("the reason", || {
        asked.get("/readyz").is_some_and(|(status, body)| {
            status == 503 && body.starts_with(unready) && body.ends_with("cracked in health\n")
        })
    });
    assert_eq!(asked.get("/healthz"), Some((200, "ok\n".to_owned())), "its loop goes on");
    run.signal(Signal::TERM);
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(143), "{said}");
    assert!(!said.contains("thread '"), "{said}");
}

#[test]
fn a_stall_after_nothing_is_refused() {
    let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "[runner]\nstall_after = \"0s\"\n");
    site.lines(["nothing"]);
    let output = site.run(&["run", "lines"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let told = "ergon.toml:2:15: runner.stall_after: must be longer than 0s, found \"0s\"";
    assert!(said.contains(told), "{said}");
    assert!(site.pids().is_empty(), "nothing began");
}

#[test]
fn it_answers_under_load() {
    let asked = asked(STREAMING);
    asked.site.lines(vec!["nothing"; 5000]);
    let mut run = asked.site.start(&["run", "lines", "--log-level", "warn", "--concurrency", "64"]);
    asked.until("/readyz", 200);
    let began = asked.site.ledger.entries().len();
    assert!((0..100).all(|_| asked.get("/healthz").unwrap().0 == 200));
    assert!(asked.site.ledger.entries().len() > began, "it worked meanwhile");
    run.signal(Signal::TERM);
    assert_eq!(run.end().0.code(), Some(143));
}

#[test]
fn a_run_that_stands_still_is_ill_drains_and_fails_with_the_reason() {
    let asked = asked("[tasks.lines.consumer]\nshutdown_grace = \"1s\"\n");
    asked.site.lines(["hang", "nothing", "nothing"]);
    let settings = [("ERGON_RUNNER__STALL_AFTER", "1s")];
    let mut run = asked.site.start_with(&["run", "lines"], &settings);
    let ill = asked.until("/healthz", 503);
    assert!(ill.starts_with("lines: no progress for ") && ill.contains("with 1 in flight"), "{ill}");
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("error: lines: no progress for 1s with 1 in flight"), "{said}");
    assert!(said.contains("stall_after"), "{said}");
}

#[test]
fn a_producer_whose_sink_hangs_is_ill_and_leaves_with_the_reason() {
    let asked = asked("[tasks.makes.producer]\nshutdown_grace = \"200ms\"\n");
    asked.site.lines(["nothing"; 3]);
    let settings = [("ERGON_RUNNER__STALL_AFTER", "1s")];
    let mut run = asked.site.start_with(&["run", "makes"], &settings);
    let ill = asked.until("/healthz", 503);
    assert!(ill.starts_with("makes: no progress for ") && ill.contains("with 2 in flight"), "{ill}");
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("error: makes: no progress for 1s with 2 in flight"), "{said}");
}

#[test]
fn a_producer_that_has_nothing_to_produce_stays_alive() {
    const STALL: Duration = Duration::from_millis(300);
    let asked = asked("");
    asked.site.lines(["nothing"; 3]);
    asked.site.write("gate", "");
    let settings = [("ERGON_RUNNER__STALL_AFTER", "300ms")];
    let mut run = asked.site.start_with(&["run", "makes"], &settings);
    asked.site.until_entries(6);
    asked.until("/readyz", 200);
    // From here on, the stream waits.
    let began = Instant::now();
    while began.elapsed() < STALL * 5 {
        assert_eq!(asked.get("/healthz"), Some((200, "ok\n".to_owned())));
    }
    run.signal(Signal::TERM);
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(143), "{said}");
    assert!(!said.contains("no progress"), "{said}");
}

#[test]
fn a_worker_that_stands_still_is_replaced() {
    let site = Site::new(
        env!("CARGO_BIN_EXE_crew"),
        Duration::ZERO,
        "[runner]\nstall_after = \"500ms\"\n[tasks.lines.consumer]\nshutdown_grace = \"200ms\"\n",
    );
    site.lines(["hang", "nothing", "nothing", "nothing"]);
    let mut run = site.start(&["run", "lines", "--workers", "2"]);
    wait("another in its place", || site.counts().get("lines.jsonl:1").is_some_and(|(begun, _)| *begun == 2));
    run.signal(Signal::TERM);
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(143), "{said}");
    let why = "ended with exit code 1: lines: no progress for";
    assert!(said.contains("worker died, a new worker replaces it") && said.contains(why), "{said}");
}

#[test]
fn a_process_whose_threads_are_all_stuck_leaves_with_the_reason() {
    let asked = asked("[tasks.threads.consumer]\nprocess = { timeout = \"100ms\" }\nstreaming = true\n");
    asked.site.lines(["hold", "hold", "nothing"]);
    let mut run = asked.site.start(&["run", "threads"]);
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("all 2 threads are stuck in handlers"), "{said}");
}

#[test]
fn a_worker_that_is_killed_makes_the_whole_unready_for_a_while() {
    let asked = asked(STREAMING);
    asked.site.lines(["nothing"; 10]);
    let mut run = asked.site.start(&["run", "lines", "--workers", "2"]);
    asked.until("/readyz", 200);
    wait("both workers", || asked.site.pids().len() == 2);
    send(asked.site.pids()[0], Signal::KILL);
    let why = asked.until("/readyz", 503);
    assert!(why.starts_with("worker lines/") && why.ends_with(": starting\n"), "{why}");
    asked.until("/readyz", 200);
    run.signal(Signal::TERM);
    assert_eq!(run.end().0.code(), Some(143));
}

#[test]
fn an_address_that_cannot_be_had_is_an_error_of_the_settings() {
    let asked = asked("");
    asked.site.lines(["nothing"]);
    let _taken = TcpListener::bind(("127.0.0.1", asked.port)).unwrap();
    for workers in ["1", "2"] {
        let output = asked.site.run(&["run", "lines", "--workers", workers]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        let at = "ergon.toml:3:10: runner.health: cannot listen on 127.0.0.1:";
        assert!(said.contains(at) && said.contains("hint: name a port that is free"), "{said}");
    }
    assert!(asked.site.ledger.entries().is_empty(), "nothing was begun");
}

#[test]
fn an_address_that_cannot_be_read_says_what_was_expected() {
    let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "[runner]\nhealth = \"9464\"\n");
    let output = site.run(&["run", "lines"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("runner.health") && said.contains("an address with a port such as"), "{said}");
}

/// The notifications that systemd would receive.
struct Manager(UnixDatagram);

impl Manager {
    fn until(&self, state: &str) {
        let mut piece = [0; 200];
        loop {
            let count =
                self.0.recv(&mut piece).unwrap_or_else(|error| panic!("{state} did not come: {error}"));
            if &piece[..count] == state.as_bytes()
                || piece[..count].starts_with(format!("{state}\n").as_bytes())
            {
                return;
            }
        }
    }
}

#[test]
fn systemd_hears_that_it_is_ready_alive_and_stopping() {
    for workers in ["1", "2"] {
        let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, STREAMING);
        site.lines(["gate"; 2]);
        let path = site.path().join("notify");
        let manager = Manager(UnixDatagram::bind(&path).unwrap());
        manager.0.set_read_timeout(Some(PATIENCE)).unwrap();
        let socket = path.to_str().unwrap();
        let variables = [("NOTIFY_SOCKET", socket), ("WATCHDOG_USEC", "900000")];
        let mut run = site.start_with(&["run", "lines", "--workers", workers], &variables);
        manager.until("READY=1");
        manager.until("WATCHDOG=1");
        manager.until("WATCHDOG=1");
        site.until_entries(2);
        run.signal(Signal::TERM);
        manager.until("STOPPING=1");
        manager.until("WATCHDOG=1");
        site.write("gate", "");
        assert_eq!(run.end().0.code(), Some(143));
    }
}

#[test]
fn systemd_does_not_hear_that_a_run_is_alive_that_stands_still() {
    let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "[runner]\nstall_after = \"300ms\"\n");
    site.lines(["hang"]);
    let path = site.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let mut run = site.start_with(
        &["run", "lines"],
        &[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "300000")],
    );
    run.until_said("no progress for");
    manager.set_nonblocking(true).unwrap();
    let mut piece = [0; 200];
    while manager.recv(&mut piece).is_ok() {}
    // The process drains for 25 s. In this time, it must not report that it is alive.
    manager.set_nonblocking(false).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    while let Ok(count) = manager.recv(&mut piece) {
        assert_ne!(&piece[..count], b"WATCHDOG=1\n");
    }
    run.signal(Signal::KILL);
    run.end();
}

/// The text of the guide's blocks in this language.
fn guide(language: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/running.md");
    let text = std::fs::read_to_string(path).unwrap();
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_settings_of_the_guide_are_obeyed() {
    let blocks = guide("toml");
    assert_eq!(blocks.len(), 5);
    let settings = blocks.concat().replace("price-orders", "lines").replace("9464", "0");
    // Two blocks contain the same table, and two others contain another table.
    let settings = settings.replace("[runner]\nhealth", "health");
    let table = "[tasks.lines.consumer]\n";
    let (head, tail) = settings.rsplit_once(table).unwrap();
    let (grace, runner) = tail.split_once('\n').unwrap();
    let settings = format!("{head}{grace}\n{runner}");
    let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, &settings);
    site.lines(["nothing"; 8]);
    let output = site.run(&["--format", "json", "run", "lines"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("4 workers"), "{said}");
}

#[test]
fn the_unit_and_the_manifest_of_the_guide_fit_the_defaults() {
    let grace = ergon::policy::ConsumerPolicy::DEFAULT.shutdown_grace.as_secs();
    let number = |text: &str, key: &str| -> u64 {
        let rest = text.split(key).nth(1).unwrap_or_else(|| panic!("{key} is missing"));
        rest.trim_start_matches([':', '=', ' ']).split_whitespace().next().unwrap().parse().unwrap()
    };
    let unit = guide("ini").concat();
    assert!(unit.contains("Type=notify") && number(&unit, "TimeoutStopSec") > grace + 1);
    let manifest = guide("yaml").concat();
    assert!(number(&manifest, "terminationGracePeriodSeconds") > grace + 1);
    assert_eq!(manifest.matches("path: /readyz").count(), 2);
    assert_eq!(manifest.matches("path: /healthz").count(), 1);
    assert!(manifest.contains("ERGON_RUNNER__HEALTH, value: \"0.0.0.0:9464\""));
    assert!(manifest.contains("containerPort: 9464"));
}
