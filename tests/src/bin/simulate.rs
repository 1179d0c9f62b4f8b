//! Plays simulated runs of the engine, one for each seed, and reports an invariant that does not hold.
//!
//! ```console
//! $ cargo run -p ergon-tests --bin simulate -- --seeds 20000            # seeds 0 to 19999
//! $ cargo run -p ergon-tests --bin simulate -- --from 20000 --seeds 500
//! $ cargo run -p ergon-tests --bin simulate -- --seed 7                 # one, with its plan and its log
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for developers")]

use std::process::ExitCode;
use std::time::Instant;

use ergon_tests::simulation::{Failure, Plan, drive, play_twice};

const USAGE: &str = "usage: simulate [--seeds N] [--from N] | --seed N";
const THREADS: usize = 2;

struct Arguments {
    seeds: u64,
    from: u64,
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let Some(Arguments { seeds, from, seed }) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match seed {
        Some(seed) => replay(seed),
        None => simulate(from, seeds),
    }
}

fn arguments() -> Option<Arguments> {
    let mut found = Arguments { seeds: 1_000, from: 0, seed: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number = words.next()?.parse().ok()?;
        match word.as_str() {
            "--seeds" => found.seeds = number,
            "--from" => found.from = number,
            "--seed" => found.seed = Some(number),
            _ => return None,
        }
    }
    Some(found)
}

fn replay(seed: u64) -> ExitCode {
    let Plan { transactions, policy, stop, push, rates } = Plan::draw(seed);
    println!("{policy:#?}\n{rates:?}\nstop: {stop:?}, push: {push}");
    for (number, planned) in transactions.iter().enumerate() {
        println!("transaction {number}: {planned:?}");
    }
    let played = play_twice(seed);
    for entry in &played.log {
        println!("{entry}");
    }
    match played.broken {
        None => ExitCode::SUCCESS,
        Some(broken) => {
            eprintln!("seed {seed}: {broken}");
            ExitCode::FAILURE
        }
    }
}

fn simulate(from: u64, seeds: u64) -> ExitCode {
    let began = Instant::now();
    match drive(from..from.saturating_add(seeds), THREADS) {
        Ok(totals) => {
            let (seeds, transactions, faults) = (totals.seeds, totals.transactions, totals.faults);
            let (events, elapsed) = (totals.events, began.elapsed());
            println!(
                "{seeds} seeds, {transactions} transactions, {events} events, {faults} faults, {elapsed:.1?}"
            );
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let failure: Box<Failure> = failure;
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
