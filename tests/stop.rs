//! A stop in real processes: whenever the signal comes and whatever hangs, the process is out within its grace and a
//! second, with the right code, and nothing is lost.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ergon_tests::broker::{Broker, Queues};
use ergon_tests::crew::{Running, Site, lives, wait};
use ergon_tests::until;
use rustix::process::Signal;

const GRACE: Duration = Duration::from_millis(700);
/// What a process may take beyond its grace.
const BEYOND: Duration = Duration::from_secs(1);

/// One handler that holds its thread holds all.
const ONE_THREAD: [(&str, &str); 1] = [("TOKIO_WORKER_THREADS", "1")];

const SETTINGS: &str = "
[tasks.lines.consumer]
shutdown_grace = \"700ms\"
streaming = true
[tasks.threads.consumer]
shutdown_grace = \"700ms\"
streaming = true
";

/// What the process is busy with when the signal comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    Idle,
    Busy,
    /// A handler waits for ever.
    Hangs,
    /// A handler holds its thread for ever.
    Holds,
}

fn site(scene: Scene, work: Duration) -> Site {
    let site = Site::new(env!("CARGO_BIN_EXE_crew"), work, SETTINGS);
    let hangs = match scene {
        Scene::Idle | Scene::Busy => None,
        Scene::Hangs => Some("hang"),
        Scene::Holds => Some("hold"),
    };
    // The last one of them, so that what came before it was free to go on.
    let lines = (0..60).map(|n| if n == 40 { hangs.unwrap_or("nothing") } else { "nothing" });
    site.lines(lines);
    site
}

fn start(site: &Site, task: &str) -> Running {
    site.start(&["run", task, "--log-level", "warn"])
}

/// Sends one signal at a moment that the seed chooses, and looks at what became of it.
fn stopped_at(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let scene = [Scene::Idle, Scene::Busy, Scene::Busy, Scene::Hangs, Scene::Holds][random.usize(..5)];
    let task = ["lines", "threads"][random.usize(..2)];
    let (signal, code) = if random.bool() { (Signal::TERM, 143) } else { (Signal::INT, 130) };
    let site = site(scene, Duration::from_millis(random.u64(0..4)));
    let mut run = start(&site, task);
    // Idle: all is done. Busy: any moment from the first line on. The others: somebody hangs already.
    let begun = match scene {
        Scene::Idle => 120,
        Scene::Busy => random.usize(1..110),
        Scene::Hangs | Scene::Holds => 41,
    };
    site.until_entries(begun);
    if matches!(scene, Scene::Hangs | Scene::Holds) {
        wait("the one that hangs", || site.counts().contains_key("lines.jsonl:41"));
    }
    run.signal(signal);
    let (status, took, said) = run.end();
    let what = format!("seed {seed}: {scene:?} {task} at {begun}: {said}");
    assert_eq!(status.code(), Some(code), "{what}");
    assert!(took < GRACE + BEYOND, "{took:?}; {what}");
    let counts = site.counts();
    let unfinished = counts.values().filter(|(begun, ended)| begun != ended).count();
    assert!(counts.values().all(|(begun, _)| *begun == 1), "{counts:?}; {what}");
    let expected = match (scene, task) {
        (Scene::Idle | Scene::Busy, _) => 0..=0,
        // Who holds a thread of the runtime may hold the other lane with it.
        (Scene::Holds, "lines") => 1..=2,
        (Scene::Hangs | Scene::Holds, _) => 1..=1,
    };
    assert!(expected.contains(&unfinished), "{unfinished} unfinished of {counts:?}; {what}");
}

#[test]
fn two_hundred_signals_at_any_moment_lose_nothing_and_nobody_stays() {
    let threads: Vec<_> =
        (0..4).map(|part| thread::spawn(move || (0..50).for_each(|n| stopped_at(part * 50 + n)))).collect();
    // All of them, so that one that fails does not hide another.
    let failed = threads.into_iter().map(thread::JoinHandle::join).filter(Result::is_err).count();
    assert_eq!(failed, 0);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (scene, task) in [(Scene::Hangs, "lines"), (Scene::Holds, "lines"), (Scene::Holds, "threads")] {
        let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "");
        site.lines([if scene == Scene::Hangs { "hang" } else { "hold" }; 4]);
        let mut run = site.start_with(&["run", task], &ONE_THREAD);
        site.until_entries(1);
        run.signal(Signal::INT);
        run.until_said("stopping");
        run.signal(Signal::TERM);
        let (status, took, said) = run.end();
        assert_eq!(status.code(), Some(143), "{said}");
        assert!(took < Duration::from_secs(3), "{took:?} of a grace of 25 s: {said}");
    }
}

#[test]
fn handlers_that_hold_every_thread_cannot_hold_the_process() {
    let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, SETTINGS);
    site.lines(["hold"; 4]);
    let mut run = site.start_with(&["run", "lines"], &ONE_THREAD);
    site.until_entries(1);
    run.signal(Signal::TERM);
    let (status, took, said) = run.end();
    assert_eq!(status.code(), Some(143), "{said}");
    assert!(took > GRACE && took < GRACE + BEYOND, "{took:?}: {said}");
    assert!(said.contains("not all came to its end in time"), "{said}");
}

#[test]
fn a_storm_of_signals_ends_it_with_the_code_of_one_of_them() {
    for workers in ["1", "2"] {
        let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "");
        site.lines(["hang"; 8]);
        let mut run = site.start(&["run", "lines", "--workers", workers]);
        site.until_entries(2);
        let pid = run.pid().to_string();
        // Signals that mean nothing to it as well: windows that change, children that end. As long as it lives: many
        // that come at once are one to the system.
        let storm = "while kill -WINCH $0 && kill -CHLD $0 && kill -TERM $0; do :; done";
        let mut storm = Command::new("sh").args(["-c", storm, &pid]).stderr(Stdio::null()).spawn().unwrap();
        let (status, took, said) = run.end();
        storm.kill().unwrap();
        storm.wait().unwrap();
        assert_eq!(status.code(), Some(143), "{said}");
        assert!(took < Duration::from_secs(3), "{took:?}");
        wait("the end of the workers", || !site.pids().into_iter().any(lives));
    }
}

#[test]
fn a_signal_before_anything_has_begun_ends_it() {
    for seed in 0..20 {
        let site = site(Scene::Idle, Duration::ZERO);
        let mut run = start(&site, "lines");
        // From the very start of the process: no handler may be there yet, then the system ends it.
        for _ in 0..seed * 40 {
            thread::yield_now();
        }
        run.signal(Signal::TERM);
        let (status, took, said) = run.end();
        let by_system = std::os::unix::process::ExitStatusExt::signal(&status) == Some(15);
        assert!(by_system || status.code() == Some(143), "{status:?} {said}");
        assert!(took < GRACE + BEYOND, "{took:?}");
    }
}

/// Runs a program as the first process of a PID namespace; none where that is not permitted.
fn first_process(site: &Site, arguments: &[&str]) -> Option<Running> {
    first_process_of(site, &site.command(arguments))
}

fn first_process_of(site: &Site, inner: &Command) -> Option<Running> {
    let permitted = Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"]).output();
    if !permitted.as_ref().is_ok_and(|output| output.status.success()) {
        return None;
    }
    Some(site.start_as("unshare", &["--pid", "--fork", "--kill-child=KILL", "--mount-proc"], inner))
}

#[test]
fn as_the_first_process_it_reaps_what_others_left() {
    let site = site(Scene::Idle, Duration::ZERO);
    // The subshell is gone before what it started ends: that becomes the first process's.
    let script = "(sleep 0.2 &); exec \"$0\" run lines --quiet";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_crew")]);
    let Some(run) = first_process_of(&site, &shell) else {
        println!("NOT TESTED: `unshare --pid` is not permitted here");
        return;
    };
    site.until_entries(120);
    let first = inside(&run);
    let children = format!("/proc/{first}/task/{first}/children");
    let left = || std::fs::read_to_string(&children).unwrap();
    wait("the process that is left", || !left().trim().is_empty());
    wait("its end", || left().trim().is_empty());
    run.signal(Signal::KILL);
}

/// The process that runs the program inside of `unshare`.
fn inside(run: &Running) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", run.pid());
    let mut child = None;
    wait("the process inside", || {
        let text = std::fs::read_to_string(&children).unwrap_or_default();
        child = text.split_whitespace().next().and_then(|pid| pid.parse().ok());
        child.is_some()
    });
    child.unwrap()
}

#[test]
fn as_the_first_process_it_stops_too() {
    for workers in ["1", "2"] {
        let site = site(Scene::Idle, Duration::from_millis(1));
        let arguments = ["run", "lines", "--workers", workers, "--log-level", "warn"];
        let Some(mut run) = first_process(&site, &arguments) else {
            println!("NOT TESTED: `unshare --pid` is not permitted here");
            return;
        };
        site.until_entries(120);
        let began = Instant::now();
        ergon_tests::crew::send(inside(&run), Signal::TERM);
        let (status, _, said) = run.end();
        assert_eq!(status.code(), Some(143), "{said}");
        assert!(began.elapsed() < GRACE + BEYOND, "{:?}", began.elapsed());
        assert!(site.counts().values().all(|count| *count == (1, 1)));
    }
}

/// A worker program on a broker of its own.
async fn on_broker(broker: &Broker) -> (Site, Queues) {
    let site = Site::new(env!("CARGO_BIN_EXE_worker"), Duration::ZERO, "");
    let settings = "[tasks.work.consumer]\nshutdown_grace = \"700ms\"\nconcurrency = 4\n";
    site.write("ergon.toml", &Queues::settings(&broker.url(), site.path(), settings));
    (site, Queues::declare(broker).await)
}

#[cfg_attr(not(rabbitmq_server), ignore = "rabbitmq-server was not found when this was built")]
#[tokio::test(flavor = "multi_thread")]
async fn stops_at_any_moment_lose_nothing_of_a_queue() {
    let broker = Broker::start().await;
    let (site, queues) = on_broker(&broker).await;
    queues.fill((0..3000).map(|n| format!("{n:06}")), &site.ledger).await;
    let mut random = fastrand::Rng::with_seed(7);
    for n in 0..20 {
        let workers = if n % 2 == 0 { "1" } else { "2" };
        let at = site.ledger.entries().len() + random.usize(1..120);
        let mut run = site.start(&["run", "work", "--quiet", "--workers", workers]);
        site.until_entries(at);
        run.signal(Signal::TERM);
        let (status, took, said) = run.end();
        assert_eq!(status.code(), Some(143), "{said}");
        assert!(took < GRACE + BEYOND, "{took:?}: {said}");
    }
    let verdict = queues.verdict(&site.ledger).await;
    println!("20 stops: {verdict}");
    verdict.assert_nothing_lost();
    assert!(verdict.dup.is_empty(), "what is in flight is settled before it leaves: {verdict}");
    assert!(verdict.succeeded > 0);
}

#[cfg_attr(not(rabbitmq_server), ignore = "rabbitmq-server was not found when this was built")]
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_answer_does_not_hold_a_stop() {
    let broker = Broker::start().await;
    let (site, queues) = on_broker(&broker).await;
    queues.fill((0..4000).map(|n| format!("{n:06}")), &site.ledger).await;
    for workers in ["1", "2"] {
        let at = site.ledger.entries().len() + 40;
        let mut run = site.start(&["run", "work", "--quiet", "--workers", workers]);
        site.until_entries(at);
        broker.freeze();
        run.signal(Signal::TERM);
        let (status, took, said) = run.end();
        broker.thaw();
        assert_eq!(status.code(), Some(143), "{said}");
        assert!(took < GRACE + BEYOND, "{took:?}: {said}");
    }
    let at = site.ledger.entries().len() + 40;
    let mut run = site.start(&["run", "work", "--quiet"]);
    site.until_entries(at);
    broker.kill();
    run.signal(Signal::TERM);
    let (status, took, said) = run.end();
    assert_eq!(status.code(), Some(143), "{said}");
    assert!(took < GRACE + BEYOND, "{took:?}: {said}");
    broker.restart().await;
    let queues = Queues::declare(&broker).await;
    let back = async || broker.depth("input").await.1 == 0;
    until("the broker takes back what nobody acked", ergon_tests::crew::PATIENCE, back).await;
    let verdict = queues.verdict(&site.ledger).await;
    println!("stops with the broker away: {verdict}");
    verdict.assert_nothing_lost();
}
