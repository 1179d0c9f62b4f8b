//! Measures the compile time of `#[ergon::task]`: a hundred tasks with the attribute, compared with the same tasks
//! written by hand.
//!
//! `cargo bench -p ergon-macros --bench compile_cost` generates a workspace of three crates (no task, by hand, by
//! macro) below `target/tmp`, and prints the time of `cargo check` for each crate: the median of five interleaved
//! rounds, and the fastest round, which is more reliable on a busy machine.
//!
//! | option | effect |
//! |---|---|
//! | `-- --clean` | also builds `ergon-macros` and its dependencies without a cache |
//! | `-- --smoke` | measures nothing; checks that the generated crates compile without a warning |

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark prints and may fail"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

const TASKS: usize = 100;
const ROUNDS: usize = 5;
/// The greatest ratio of the time with the macro to the time by hand.
const AIM: f64 = 1.3;

/// The way in which the tasks of a crate are written.
#[derive(Clone, Copy)]
enum Way {
    /// No tasks: the time of cargo, and of the compiler to load the dependencies.
    Bare,
    Hand,
    Macro,
}

impl Way {
    const ALL: [Self; 3] = [Self::Bare, Self::Hand, Self::Macro];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "no task",
            Self::Hand => "by hand",
            Self::Macro => "by macro",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Hand => "by_hand",
            Self::Macro => "by_macro",
        }
    }

    /// Returns the text of `lib.rs`.
    fn lib(self, tasks: usize) -> String {
        let (head, task) = match self {
            Self::Bare => (HEAD, ""),
            Self::Hand => (HEAD_BY_HAND, BY_HAND),
            Self::Macro => (HEAD, BY_MACRO),
        };
        let tasks = if task.is_empty() { 0 } else { tasks };
        let tasks = (0..tasks).map(|n| format!("{task}{CONSUMER}").replace("$N", &n.to_string()));
        std::iter::once(head.to_owned()).chain(tasks).collect()
    }
}

const HEAD: &str = "#![allow(dead_code, unused_imports)]
use ergon::prelude::*;
";

const HEAD_BY_HAND: &str = "#![allow(dead_code)]
use std::time::Duration;

use ergon::__private::{ShowAsJson as _, Shown, consumer};
use ergon::connector::{Input, Output, SinkConfig, SourceConfig};
use ergon::policy::{ConsumerPolicy, RetryPolicy};
use ergon::prelude::*;
use ergon::task::{Task, TaskConfig};
";

const BY_MACRO: &str = r#"
#[ergon::task(
    connectors(input, output, dlq, audit: Sink),
    consumer(concurrency = 8, process(max_attempts = 3, backoff = "1s"), dead_letter = dlq)
)]
pub struct Task$N;
"#;

/// The expansion of `BY_MACRO` as a person writes it. Keep it equal to the snapshots of `expand`.
const BY_HAND: &str = r#"
pub struct Task$N {
    input_connector: Input,
    output_connector: Output,
    dlq_connector: Output,
    audit_connector: Output,
    consumer_policy: ConsumerPolicy,
}

impl Task for Task$N {
    const NAME: &'static str = "task$N";
}

/// The wiring of [`Task$N`]: a config for each connector and service.
pub struct Task$NWiring<I, O, D, A> {
    /// The config of `input`.
    pub input: I,
    /// The config of `output`.
    pub output: O,
    /// The config of `dlq`.
    pub dlq: D,
    /// The config of `audit`.
    pub audit: A,
}

impl Task$N {
    /// Makes the config of the task from its wiring.
    pub fn config<I, O, D, A>(wiring: Task$NWiring<I, O, D, A>) -> TaskConfig
    where
        I: SourceConfig,
        O: SinkConfig,
        D: SinkConfig,
        A: SinkConfig,
    {
        let process =
            RetryPolicy { max_attempts: 3, backoff: Duration::from_secs(1), ..RetryPolicy::DEFAULT };
        let policy = ConsumerPolicy {
            concurrency: 8,
            process,
            dead_letter: Some("dlq".into()),
            ..ConsumerPolicy::DEFAULT
        };
        consumer::<Self, _>(
            policy,
            |output| (&&&Shown(output)).show(),
            move |parts| {
                let input = parts.source("input", &wiring.input);
                let output = parts.sink("output", &wiring.output);
                let dlq = parts.sink("dlq", &wiring.dlq);
                let audit = parts.sink("audit", &wiring.audit);
                Some(Self {
                    input_connector: input?,
                    output_connector: output?,
                    dlq_connector: dlq?,
                    audit_connector: audit?,
                    consumer_policy: parts.consumer_policy(),
                })
            },
        )
        .__source::<I>("input")
        .__sink::<O>("output")
        .__sink::<D>("dlq")
        .__sink::<A>("audit")
    }
}
"#;

/// The code that the user writes in both crates.
const CONSUMER: &str = r#"
impl Consumer for Task$N {
    type Payload = Value;
    type Output = u64;

    async fn process_transaction(&self, order: &Transaction<Value>) -> Result<u64> {
        let quantity = order.payload().get("quantity").and_then(Value::as_u64);
        quantity.ok_or_else(|| TransactionError::business("an order without a quantity"))
    }

    async fn handle_process_success(&self, order: &Transaction<Value>, quantity: &u64) -> Result<()> {
        self.audit_connector.dispatch(order.derive(quantity)?).await?;
        self.output_connector.dispatch(order.derive(quantity)?).await
    }
}
"#;

/// The generated workspace; its target folder is kept, so that the dependencies are compiled once.
struct Workspace {
    root: PathBuf,
}

impl Workspace {
    fn generate(tasks: usize) -> Self {
        let this = Self { root: folder("compile_cost") };
        let members = Way::ALL.map(Way::package);
        let root = format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n");
        this.write("Cargo.toml", &root);
        // The versions that are already resolved and downloaded.
        fs::copy(repository().join("Cargo.lock"), this.root.join("Cargo.lock")).unwrap();
        for way in Way::ALL {
            let (name, ergon) = (way.package(), repository().join("ergon"));
            let package = format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n");
            let dependencies = format!("\n[dependencies]\nergon.path = '{}'\n", ergon.display());
            this.write(&format!("{name}/Cargo.toml"), &(package + &dependencies));
            this.write(&format!("{name}/src/lib.rs"), &way.lib(tasks));
        }
        this
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Returns the time of `cargo check` after a change to the crate's file.
    fn check(&self, way: Way, incremental: bool) -> Duration {
        let lib = self.root.join(way.package()).join("src/lib.rs");
        fs::write(&lib, fs::read(&lib).unwrap()).unwrap();
        let mut check = cargo(&self.root, &self.root.join("target"));
        check.args(["check", "--package", way.package()]);
        check.env("CARGO_INCREMENTAL", if incremental { "1" } else { "0" });
        let (took, said) = run(&mut check);
        assert!(said.contains(&format!("Checking {} ", way.package())), "nothing was checked:\n{said}");
        assert!(!said.contains("warning"), "the generated crate has warnings:\n{said}");
        took
    }

    /// Returns the rounds of each way, in the order of `Way::ALL`, fastest first.
    fn measure(&self, incremental: bool) -> [Vec<f64>; 3] {
        for way in Way::ALL {
            self.check(way, incremental);
        }
        let mut figures: [Vec<f64>; 3] = Default::default();
        for _ in 0..ROUNDS {
            for (way, figures) in Way::ALL.into_iter().zip(&mut figures) {
                figures.push(self.check(way, incremental).as_secs_f64());
            }
        }
        for figures in &mut figures {
            figures.sort_by(f64::total_cmp);
        }
        figures
    }
}

fn cargo(folder: &Path, target: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_TERM_COLOR", "never")
        .arg("--offline");
    cargo
}

/// Runs a command to its end; returns the wall time and the output.
fn run(command: &mut Command) -> (Duration, String) {
    let began = Instant::now();
    let output = command.output().unwrap();
    let took = began.elapsed();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}:\n{said}");
    (took, said)
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn print_checks(workspace: &Workspace, incremental: bool) {
    let figures = workspace.measure(incremental);
    let title = if incremental { "cargo check, incremental" } else { "cargo check" };
    println!("{title:<28}{:>10}{:>12}{:>12}{:>12}", "seconds", "x by hand", "fastest", "x by hand");
    let figures = figures.map(|rounds| (rounds[ROUNDS / 2], rounds[0]));
    let by_hand = figures[1];
    for (way, (median, fastest)) in Way::ALL.into_iter().zip(figures) {
        let ratios = (median / by_hand.0, fastest / by_hand.1);
        println!("{:<28}{median:>10.3}{:>12.2}{fastest:>12.3}{:>12.2}", way.name(), ratios.0, ratios.1);
    }
}

/// Returns the build time of the macro crate and its dependencies, without a cache.
fn print_clean_build() {
    let target = folder("compile_cost_clean");
    let _nothing_there = fs::remove_dir_all(&target);
    let (took, _) = run(cargo(&repository(), &target).args(["build", "--package", "ergon-macros"]));
    println!("clean build of ergon-macros {:>10.1} s", took.as_secs_f64());
    fs::remove_dir_all(&target).unwrap();
}

fn main() {
    let asked = |name: &str| env::args().any(|argument| argument == name);
    if asked("--smoke") {
        let workspace = Workspace::generate(2);
        for way in Way::ALL {
            workspace.check(way, false);
        }
        println!("the generated crates compile");
        return;
    }
    let workspace = Workspace::generate(TASKS);
    println!("{TASKS} tasks; by macro is to take at most {AIM} times as long as by hand");
    print_checks(&workspace, false);
    print_checks(&workspace, true);
    if asked("--clean") {
        print_clean_build();
    }
}
