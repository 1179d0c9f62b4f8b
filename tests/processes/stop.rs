//! Tests a stop in real processes: at any moment of the signal, and with any hanging part, the process ends at most one
//! second after its grace, with the right exit code, and nothing is lost.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ergon_tests::broker::{Broker, Queues};
use ergon_tests::crew::{Running, Site, lives, wait};
use ergon_tests::otlp::Collector;
use ergon_tests::until;
use rustix::process::Signal;
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

const GRACE: Duration = Duration::from_millis(700);
/// The time that a process may take after its grace.
const BEYOND: Duration = Duration::from_secs(1);

/// One handler that blocks its thread blocks the whole runtime.
const ONE_THREAD: [(&str, &str); 1] = [("TOKIO_WORKER_THREADS", "1")];

const SETTINGS: &str = "
[tasks.lines.consumer]
shutdown_grace = \"700ms\"
streaming = true
[tasks.threads.consumer]
shutdown_grace = \"700ms\"
streaming = true
";

/// The work of the process when the signal arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    Idle,
    Busy,
    /// A handler waits forever.
    Hangs,
    /// A handler blocks its thread forever.
    Holds,
}

/// The destination of the process's telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sends {
    Nowhere,
    /// A collector that accepts everything.
    Well,
    /// A collector that reads everything and never answers.
    Unanswered,
    /// A port to which no connection succeeds.
    Swallowed,
}

/// A collector of each kind.
struct Collectors {
    well: Collector,
    unanswered: Collector,
    swallowed: Swallows,
}

impl Collectors {
    async fn start() -> Self {
        let unanswered = Collector::grpc().await;
        unanswered.hang();
        Self { well: Collector::grpc().await, unanswered, swallowed: Swallows::open().await }
    }

    fn endpoint(&self, sends: Sends) -> Option<String> {
        match sends {
            Sends::Nowhere => None,
            Sends::Well => Some(self.well.endpoint()),
            Sends::Unanswered => Some(self.unanswered.endpoint()),
            Sends::Swallowed => Some(format!("http://{}", self.swallowed.address)),
        }
    }
}

/// A port whose queue of connections is full and never read, so that the system drops each new connection.
struct Swallows {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Swallows {
    async fn open() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Some(stream) = connect(address).await {
            queue.push(stream);
            assert!(queue.len() < 100, "the queue has no end");
        }
        Self { address, _listener: listener, _queue: queue }
    }
}

/// A connection; none if there is no answer for a long time, although the other side is on this machine.
async fn connect(address: SocketAddr) -> Option<TcpStream> {
    timeout(Duration::from_secs(1), TcpStream::connect(address)).await.ok().map(Result::unwrap)
}

fn site(scene: Scene, work: Duration) -> Site {
    let site = Site::new(env!("CARGO_BIN_EXE_crew"), work, SETTINGS);
    let hangs = match scene {
        Scene::Idle | Scene::Busy => None,
        Scene::Hangs => Some("hang"),
        Scene::Holds => Some("hold"),
    };
    // The line that hangs comes late, so that the lines before it can finish.
    let lines = (0..60).map(|n| if n == 40 { hangs.unwrap_or("nothing") } else { "nothing" });
    site.lines(lines);
    site
}

fn start(site: &Site, task: &str) -> Running {
    site.start(&["run", task, "--log-level", "warn"])
}

/// The time that an idle process needs for a wait as long as a stop may take. On a busy machine, every wait takes
/// longer.
fn stopwatch() -> thread::JoinHandle<Duration> {
    thread::spawn(|| {
        let (began, limit) = (Instant::now(), (GRACE + BEYOND).as_secs_f64().to_string());
        assert!(Command::new("sleep").arg(limit).status().unwrap().success());
        began.elapsed()
    })
}

/// Sends one signal at a moment that the seed chooses, and checks the result.
fn stopped_at(seed: u64, collectors: &Collectors) {
    let mut random = fastrand::Rng::with_seed(seed);
    let scene = [Scene::Idle, Scene::Busy, Scene::Busy, Scene::Hangs, Scene::Holds][random.usize(..5)];
    let task = ["lines", "threads"][random.usize(..2)];
    let (signal, code) = if random.bool() { (Signal::TERM, 143) } else { (Signal::INT, 130) };
    let site = site(scene, Duration::from_millis(random.u64(0..4)));
    let sends = [Sends::Nowhere, Sends::Well, Sends::Unanswered, Sends::Swallowed][random.usize(..4)];
    let endpoint = collectors.endpoint(sends);
    let variables = endpoint.as_deref().map(|endpoint| ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint));
    let mut run = site.start_with(&["run", task, "--log-level", "warn"], variables.as_slice());
    // Idle: everything is processed. Busy: any moment after the first line. In the other cases, a handler already
    // hangs.
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
    let limit = stopwatch();
    let (status, took, said) = run.end();
    let what = format!("seed {seed}: {scene:?} {task} {sends:?} at {begun}: {said}");
    assert_eq!(status.code(), Some(code), "{what}");
    assert!(took < GRACE + BEYOND || took < limit.join().unwrap(), "{took:?}; {what}");
    let cut_short = said.contains("not everything finished within the shutdown grace");
    assert!(!cut_short || matches!(scene, Scene::Hangs | Scene::Holds), "only telemetry was late: {what}");
    let counts = site.counts();
    let unfinished = counts.values().filter(|(begun, ended)| begun != ended).count();
    assert!(counts.values().all(|(begun, _)| *begun == 1), "{counts:?}; {what}");
    let expected = match (scene, task) {
        (Scene::Idle | Scene::Busy, _) => 0..=0,
        // A handler that blocks a thread of the runtime may block the other lane too.
        (Scene::Holds, "lines") => 1..=2,
        (Scene::Hangs | Scene::Holds, _) => 1..=1,
    };
    assert!(expected.contains(&unfinished), "{unfinished} unfinished of {counts:?}; {what}");
}

#[tokio::test]
async fn two_hundred_signals_at_any_moment_lose_nothing_and_nobody_stays() {
    let collectors = Collectors::start().await;
    let failed = thread::scope(|scope| {
        let part = |part: u64| (part * 50..(part + 1) * 50).for_each(|seed| stopped_at(seed, &collectors));
        let parts: Vec<_> = (0..4).map(|n| scope.spawn(move || part(n))).collect();
        // All failures are collected, so that one failure does not hide another.
        parts.into_iter().map(thread::ScopedJoinHandle::join).filter(Result::is_err).count()
    });
    assert_eq!(failed, 0);
    let Collectors { well, unanswered, swallowed } = collectors;
    assert!(!well.spans().is_empty() && well.seen().requests > 0, "nobody sent it anything");
    assert!(unanswered.seen().requests > 0, "nobody sent it anything");
    assert!(connect(swallowed.address).await.is_none(), "it took a connection");
}

#[test]
fn a_hangup_drains_like_a_termination_in_one_process_and_in_several() {
    for workers in ["1", "2"] {
        let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "");
        site.lines((0..40).map(|n| if n < 4 { "gate" } else { "nothing" }));
        let mut run = site.start(&["run", "lines", "--workers", workers, "--log-level", "warn"]);
        let in_flight = if workers == "1" { 2 } else { 4 };
        site.until_entries(in_flight);
        run.signal(Signal::HUP);
        run.until_said("stopping");
        site.write("gate", "");
        let (status, _, said) = run.end();
        assert_eq!(status.code(), Some(129), "{workers}: {said}");
        let counts = site.counts();
        assert!(counts.values().all(|count| *count == (1, 1)), "{counts:?}");
        assert!(counts.len() < 40, "nothing more was begun");
    }
}

#[test]
fn a_hangup_drains_one_transaction_by_hand() {
    for arguments in by_hand("lines", "{\"does\":\"gate\"}") {
        let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "");
        site.lines(["gate"]);
        let mut run = site.start(&arguments);
        site.until_entries(1);
        run.signal(Signal::HUP);
        run.until_said("stopping");
        site.write("gate", "");
        let (status, _, said) = run.end();
        assert_eq!(status.code(), Some(129), "{said}");
        assert_eq!(site.counts().into_values().collect::<Vec<_>>(), [(1, 1)], "{said}");
    }
}

/// A terminal that is closed sends one hangup, and its shell sends another.
#[test]
fn further_hangups_do_not_end_a_drain() {
    for (first, code) in [(Signal::HUP, 129), (Signal::TERM, 143)] {
        let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "");
        site.lines(["gate"; 4]);
        let mut run = site.start(&["run", "lines"]);
        site.until_entries(2);
        run.signal(first);
        run.until_said("stopping");
        run.signal(Signal::HUP);
        run.signal(Signal::HUP);
        site.write("gate", "");
        let (status, _, said) = run.end();
        assert_eq!(status.code(), Some(code), "{said}");
        assert!(site.counts().values().all(|count| *count == (1, 1)), "{said}");
    }
}

#[test]
fn a_termination_after_a_hangup_ends_it_at_once() {
    for workers in ["1", "2"] {
        let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "");
        site.lines(["hang"; 4]);
        let mut run = site.start(&["run", "lines", "--workers", workers]);
        site.until_entries(2);
        run.signal(Signal::HUP);
        run.until_said("stopping");
        run.signal(Signal::TERM);
        let (status, took, said) = run.end();
        assert_eq!(status.code(), Some(143), "{said}");
        assert!(took < Duration::from_secs(5), "{took:?} of a grace of 25 s: {said}");
        wait("the end of the workers", || !site.pids().into_iter().any(lives));
    }
}

#[test]
fn a_program_under_nohup_goes_on_when_its_terminal_is_gone() {
    for workers in ["1", "2"] {
        let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "");
        site.lines((0..40).map(|n| if n < 4 { "gate" } else { "nothing" }));
        let inner = site.command(&["run", "lines", "--workers", workers]);
        let mut run = site.start_as("nohup", &[], &inner);
        site.until_entries(if workers == "1" { 2 } else { 4 });
        let mut all = site.pids();
        all.push(run.pid());
        for pid in &all {
            ergon_tests::crew::send(*pid, Signal::HUP);
        }
        site.write("gate", "");
        let (status, _, said) = run.end();
        assert_eq!(status.code(), Some(0), "{workers}: {said}");
        assert!(!said.contains("stopping"), "{said}");
        assert!(site.counts().len() == 40 && site.counts().values().all(|count| *count == (1, 1)), "{said}");
    }
}

#[test]
fn a_worker_that_is_hung_up_alone_drains_and_is_replaced() {
    let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "");
    site.lines((0..20).map(|n| if n < 2 { "gate" } else { "nothing" }));
    let mut run = site.start(&["--format", "json", "run", "lines", "--workers", "2"]);
    wait("two workers", || site.pids().len() == 2);
    ergon_tests::crew::send(site.pids()[0], Signal::HUP);
    site.write("gate", "");
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(site.counts().len() == 20 && site.counts().values().all(|(_, ended)| *ended >= 1), "{said}");
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

/// Both ways to process one transaction by hand: the first line of the site, or the same as a payload.
fn by_hand<'a>(task: &'a str, payload: &'a str) -> [Vec<&'a str>; 2] {
    [
        vec!["process-transaction", task, "--payload-json", payload],
        vec!["process-transaction-by-id", task, "lines.jsonl:1"],
    ]
}

#[test]
fn one_transaction_by_hand_has_its_grace_and_no_more() {
    for (does, task) in [("hang", "lines"), ("hold", "lines"), ("hold", "threads")] {
        for arguments in by_hand(task, &format!("{{\"does\":\"{does}\"}}")) {
            let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, SETTINGS);
            site.lines([does]);
            let mut run = site.start_with(&arguments, &ONE_THREAD);
            site.until_entries(1);
            run.signal(Signal::INT);
            let (status, took, said) = run.end();
            let what = format!("{arguments:?}: {said}");
            assert_eq!(status.code(), Some(130), "{what}");
            assert!(took > GRACE && took < GRACE + BEYOND, "{took:?}; {what}");
            assert!(said.contains("stopping: draining the transaction (up to 700ms)"), "{what}");
            // A blocking handler is abandoned. An async handler that blocks a thread of the runtime ends only with the
            // process.
            let held = (does, task) == ("hold", "lines");
            assert_eq!(said.contains("not everything finished within the shutdown grace"), held, "{what}");
        }
    }
}

#[test]
fn a_second_signal_ends_one_transaction_by_hand_at_once() {
    for (does, task) in [("hang", "lines"), ("hold", "lines"), ("hold", "threads")] {
        for arguments in by_hand(task, &format!("{{\"does\":\"{does}\"}}")) {
            let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "");
            site.lines([does]);
            let mut run = site.start_with(&arguments, &ONE_THREAD);
            site.until_entries(1);
            run.signal(Signal::INT);
            run.until_said("stopping");
            run.signal(Signal::TERM);
            let (status, took, said) = run.end();
            assert_eq!(status.code(), Some(143), "{arguments:?}: {said}");
            assert!(took < Duration::from_secs(3), "{took:?} of a grace of 25 s: {arguments:?}: {said}");
        }
    }
}

#[test]
fn one_transaction_by_hand_may_come_to_its_end_within_the_grace() {
    for arguments in by_hand("lines", "{\"does\":\"gate\"}") {
        let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "");
        site.lines(["gate"]);
        let mut run = site.start(&arguments);
        site.until_entries(1);
        run.signal(Signal::TERM);
        run.until_said("stopping");
        site.write("gate", "");
        let (status, _, said) = run.end();
        assert_eq!(status.code(), Some(143), "{said}");
        assert_eq!(site.counts().into_values().collect::<Vec<_>>(), [(1, 1)], "{said}");
    }
}

#[test]
fn one_transaction_by_hand_that_waits_to_be_tried_again_is_given_back_at_once() {
    let process = "process = { timeout = \"50ms\", max_attempts = 2, backoff = \"1h\" }";
    for arguments in by_hand("lines", "{\"does\":\"hang\"}") {
        for dry in [&[][..], &["--dry-run"]] {
            let settings = format!("[tasks.lines.consumer]\n{process}\n");
            let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, &settings);
            site.lines(["hang"]);
            let arguments = [&arguments[..], dry].concat();
            let mut command = site.command(&arguments);
            let shown = std::fs::File::create(site.path().join("shown")).unwrap();
            let mut run = Running::new(command.stdout(shown).stderr(Stdio::piped()).spawn().unwrap());
            run.until_said("will be tried again");
            run.signal(Signal::INT);
            let (status, took, said) = run.end();
            assert_eq!(status.code(), Some(130), "{said}");
            assert!(took < Duration::from_secs(10), "{took:?} of a grace of 25 s: {said}");
            let shown = std::fs::read_to_string(site.path().join("shown")).unwrap();
            assert!(shown.contains("failed (system): the run was stopped before"), "{shown}");
        }
    }
}

#[test]
fn loops_of_a_task_of_its_own_have_the_grace_that_all_have_by_default() {
    let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "");
    site.lines(["gate"]);
    let mut run = site.start(&["run", "own"]);
    site.until_entries(1);
    run.signal(Signal::TERM);
    run.until_said("(up to 25s)");
    site.write("gate", "");
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(143), "{said}");
    assert_eq!(site.counts().into_values().collect::<Vec<_>>(), [(1, 1)], "{said}");
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
    assert!(said.contains("not everything finished within the shutdown grace"), "{said}");
}

#[test]
fn a_constructor_that_hangs_is_left_at_once() {
    for arguments in [vec!["run", "builds"], vec!["run", "builds", "--workers", "2"]]
        .into_iter()
        .chain(by_hand("builds", "{}"))
    {
        let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "");
        site.lines(["nothing"]);
        let mut run = site.start_with(&arguments, &[("CREW_BUILDS", "hangs")]);
        wait("the constructor", || !site.building().is_empty());
        run.signal(Signal::TERM);
        let (status, took, said) = run.end();
        assert_eq!(status.code(), Some(143), "{arguments:?}: {said}");
        assert!(took < Duration::from_secs(5), "{took:?} of a grace of 25 s: {arguments:?}");
    }
}

/// The standard output of a run that is started with `--format json` and then stopped.
fn json_of(site: &Site, arguments: &[&str], environment: &[(&str, &str)]) -> (Running, std::path::PathBuf) {
    let path = site.path().join("shown");
    let mut command = site.command(&[&["--format", "json"], arguments].concat());
    command.envs(environment.iter().copied()).stdout(std::fs::File::create(&path).unwrap());
    (Running::new(command.stderr(Stdio::piped()).spawn().unwrap()), path)
}

fn json_in(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

#[test]
fn one_transaction_by_hand_that_is_cut_short_is_told_as_given_back_and_exit_is_called() {
    for (does, task) in [("hang", "leaves"), ("hang", "leaves-threads")] {
        for arguments in by_hand(task, &format!("{{\"does\":\"{does}\"}}")) {
            let settings = format!("[tasks.{task}.consumer]\nshutdown_grace = \"700ms\"\n");
            let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, &settings);
            site.lines([does]);
            let (mut run, shown) = json_of(&site, &arguments, &[]);
            site.until_entries(1);
            run.signal(Signal::INT);
            let (status, took, said) = run.end();
            assert_eq!(status.code(), Some(130), "{arguments:?}: {said}");
            assert!(took < GRACE + BEYOND, "{took:?}: {said}");
            let report = json_in(&shown);
            assert_eq!((&report["outcome"], &report["disposition"]), (&"failed".into(), &"requeue".into()));
            let told = "the run was stopped before the transaction finished";
            assert_eq!(report["error"]["message"], told, "{report}");
            assert!(site.counts().contains_key("exit"), "its exit hook was not called: {:?}", site.counts());
        }
    }
}

#[test]
fn what_a_stop_cuts_short_is_told_all_the_same() {
    for (task, does) in [("leaves", "nothing"), ("leaves-threads", "nothing"), ("lines", "hold")] {
        let settings = format!("[tasks.{task}.consumer]\nshutdown_grace = \"700ms\"\n");
        let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, &settings);
        site.lines([does]);
        let (mut run, shown) = json_of(&site, &["run", task], &[ONE_THREAD[0], ("CREW_EXIT", "hangs")]);
        // A line that is held, or one and the exit hook.
        site.until_entries(if task == "lines" { 1 } else { 2 });
        run.signal(Signal::INT);
        let (status, took, said) = run.end();
        assert_eq!(status.code(), Some(130), "{said}");
        assert!(took < GRACE + BEYOND, "{took:?}: {said}");
        let summary = json_in(&shown);
        assert_eq!(summary["exit_code"], 130, "{summary}");
        let error = summary["tasks"][0]["errors"].to_string();
        assert!(error.contains("not everything finished within the shutdown grace"), "{summary}");
        assert!(said.contains("1 fetched") || said.contains("processed"), "there is a summary: {said}");
    }
}

#[test]
fn a_storm_of_signals_ends_it_with_the_code_of_one_of_them() {
    for workers in ["1", "2"] {
        let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "");
        site.lines(["hang"; 8]);
        let mut run = site.start(&["run", "lines", "--workers", workers]);
        site.until_entries(2);
        let pid = run.pid().to_string();
        // Also signals that have no effect: windows that change, children that end. They are sent for as long as the
        // process lives, because the system merges signals that arrive at the same time.
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
        // The signal is sent right at the start of the process. If no handler is installed yet, the system ends the
        // process.
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
    // The subshell ends before the process that it started, so that process becomes a child of the first process.
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

#[test]
fn as_the_first_process_it_drains_at_a_hangup() {
    for workers in ["1", "2"] {
        let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "");
        site.lines((0..40).map(|n| if n < 4 { "gate" } else { "nothing" }));
        let arguments = ["run", "lines", "--workers", workers, "--log-level", "warn"];
        let Some(mut run) = first_process(&site, &arguments) else {
            println!("NOT TESTED: `unshare --pid` is not permitted here");
            return;
        };
        site.until_entries(if workers == "1" { 2 } else { 4 });
        ergon_tests::crew::send(inside(&run), Signal::HUP);
        run.until_said("stopping");
        site.write("gate", "");
        let (status, _, said) = run.end();
        assert_eq!(status.code(), Some(129), "{said}");
        assert!(site.counts().len() < 40 && site.counts().values().all(|count| *count == (1, 1)), "{said}");
    }
}

/// The program `worker` on its own broker.
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
