//! Simulates whole runs of the engine in a world in which anything may fail at any time. Each run is repeatable from
//! its seed.
//!
//! A seed determines a [`Plan`]. The engine runs a task over simulated connectors on a paused clock, and every event is
//! recorded as an [`event::Event`]. [`check::check`] reads the log and reports an invariant that does not hold.

mod books;
pub mod check;
mod drive;
pub mod event;
pub mod plan;
mod sink;
mod source;
mod task;
mod world;

use std::fmt;
use std::time::Duration;

use ergon::telemetry::{Ended, RunReport};
use ergon::testing;
use tokio::time::{sleep, timeout};

pub use check::Broken;
pub use drive::{Totals, drive};
pub use plan::Plan;

use event::{End, Entry, Event, Summary};
use world::World;

/// The result of a simulated run.
#[derive(Debug)]
pub struct Played {
    /// Its seed.
    pub seed: u64,
    /// All that happened.
    pub log: Vec<Entry>,
    /// The number of transactions.
    pub transactions: u64,
    /// The number of connector faults.
    pub faults: u64,
    /// The invariant that does not hold, if there is one.
    pub broken: Option<Broken>,
}

/// A run that broke an invariant.
#[derive(Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// The broken invariant.
    pub broken: Broken,
    /// All that happened.
    pub log: Vec<Entry>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 40;
        let Self { seed, broken, log } = self;
        writeln!(f, "seed {seed}: {broken}")?;
        for entry in log.iter().skip(log.len().saturating_sub(SHOWN)) {
            writeln!(f, "{entry}")?;
        }
        write!(f, "replay: cargo run -p ergon-tests --bin simulate -- --seed {seed}")
    }
}

/// Plays the run of a seed, and checks it.
pub fn play(seed: u64) -> Played {
    play_watched(seed, |_| ())
}

/// Plays the run of a seed twice, and checks that the logs are equal.
pub fn play_twice(seed: u64) -> Played {
    let (mut first, second) = (play(seed), play(seed));
    if first.broken.is_none() && first.log != second.log {
        let differs = first.log.iter().zip(&second.log).position(|(one, other)| one != other);
        let line = differs.unwrap_or(first.log.len().min(second.log.len()));
        let show = |log: &[Entry]| log.get(line).map_or_else(|| "nothing".to_owned(), ToString::to_string);
        let (one, other) = (show(&first.log), show(&second.log));
        first.broken = Some(format!("not repeatable from line {line}: `{one}`, then `{other}`"));
        first.log.truncate(line + 1);
    }
    first
}

/// The same as [`play`]. `look` sees the world before the run starts.
fn play_watched(seed: u64, look: impl FnOnce(&World)) -> Played {
    // The engine's own random numbers: the jitter of its waits.
    fastrand::seed(seed);
    let plan = Plan::draw(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    #[expect(clippy::expect_used, reason = "a runtime without I/O needs nothing from the system")]
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let world = World::new(plan.clone(), seed);
        look(&world);
        let ended = run(&plan, &world).await;
        let log = world.events();
        let broken = ended.and_then(|()| check::check(&plan, &log)).err();
        Played { seed, log, transactions: plan.transactions.len() as u64, faults: world.faults(), broken }
    })
}

/// Runs the task to its end, or to the maximum time of a run.
async fn run(plan: &Plan, world: &World) -> Result<(), Broken> {
    let whole = async {
        let running = testing::start(task::config(world)).await?;
        if let Some(stop) = plan.stop {
            sleep(stop).await;
            world.log(Event::Stopped);
            running.stop();
        }
        running.wait().await
    };
    match timeout(plan.bound(), whole).await {
        Ok(Ok(report)) => {
            world.log(Event::Over(summary(world, &report)));
            Ok(())
        }
        Ok(Err(error)) => Err(format!("the run cannot be started or closed: {error}")),
        Err(_) => Err(format!("the run does not end within {:?} of virtual time", plan.bound())),
    }
}

fn summary(world: &World, report: &RunReport) -> Summary {
    let end = match &report.ended {
        Ended::SourceEmpty => End::SourceEmpty,
        Ended::LimitReached => End::LimitReached,
        Ended::Stopped { .. } | Ended::TimeLimit => End::Stopped,
        _ => End::Failed,
    };
    let tally = &report.tally;
    Summary {
        end,
        fetched: tally.fetched,
        succeeded: tally.succeeded,
        dead_lettered: tally.dead_lettered,
        unknown: tally.unknown,
        left: world.left(),
    }
}

/// The real time that one seed may take. A longer run is a loop that never waits.
const PATIENCE: Duration = Duration::from_secs(10);
