//! Shows the progress of runs: a bar for each run on a terminal, otherwise a line every ten seconds.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::humanize;
use super::output::Output;
use crate::task::{Monitor, Snapshot};

/// The interval at which bars are drawn.
const DRAWN: Duration = Duration::from_millis(100);
/// The interval at which lines are written where there is no terminal.
const WRITTEN: Duration = Duration::from_secs(10);

/// A run whose progress is shown.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) task: &'static str,
    /// The number of transactions to process, if the source knows it. Workers report it only after a while.
    pub(crate) total: Arc<dyn Fn() -> Option<u64> + Send + Sync>,
    pub(crate) monitor: Monitor,
}

/// Shows the progress of runs until `finish`.
pub(crate) struct Progress {
    shown: JoinHandle<()>,
    bars: Vec<ProgressBar>,
}

impl Progress {
    /// Starts to show runs.
    pub(crate) fn start(output: &Output, runs: Vec<Watched>) -> Self {
        if output.bars().is_hidden() {
            return Self { shown: tokio::spawn(write_lines(output.clone(), runs)), bars: Vec::new() };
        }
        let bars: Vec<ProgressBar> = runs.iter().map(|run| output.bars().add(bar(run))).collect();
        Self { shown: tokio::spawn(draw_bars(bars.clone(), runs)), bars }
    }

    /// Removes the bars.
    pub(crate) fn finish(self) {
        self.shown.abort();
        for bar in &self.bars {
            bar.finish_and_clear();
        }
    }
}

fn bar(run: &Watched) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_style(style("{spinner} {wide_msg}"));
    measure(&bar, run);
    bar
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constant. An invalid template would show the default bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Sets the length of the bar to the total as soon as it is known, and whenever it changes.
fn measure(bar: &ProgressBar, run: &Watched) {
    let Some(total) = (run.total)() else { return };
    if bar.length().is_none() {
        bar.set_style(style("{wide_msg}"));
    }
    if bar.length() != Some(total) {
        bar.set_length(total);
    }
}

async fn draw_bars(bars: Vec<ProgressBar>, runs: Vec<Watched>) {
    let mut ticks = interval_at(Instant::now(), DRAWN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        for (bar, run) in bars.iter().zip(&runs) {
            measure(bar, run);
            let snapshot = run.monitor.snapshot();
            bar.set_position(snapshot.tally.processed);
            let (rate, left) = (humanize::per_second(bar.per_sec()), HumanDuration(bar.eta()));
            let time = match bar.length() {
                Some(_) => format!("ETA {left:#}"),
                None => format!("{:#}", HumanDuration(bar.elapsed())),
            };
            bar.set_message(row(run, &snapshot, &rate, &time));
        }
    }
}

async fn write_lines(output: Output, runs: Vec<Watched>) {
    let mut ticks = interval_at(Instant::now() + WRITTEN, WRITTEN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = vec![0; runs.len()];
    loop {
        ticks.tick().await;
        for (run, before) in runs.iter().zip(&mut before) {
            let snapshot = run.monitor.snapshot();
            let processed = snapshot.tally.processed;
            let rate = humanize::rate(processed.saturating_sub(*before), WRITTEN);
            output.talk(&line(run, &snapshot, &rate));
            *before = processed;
        }
    }
}

/// `price-orders: 3,200 of 9,994 processed, 320/s, 12 failed, 3 retries, 8 in flight`
fn line(run: &Watched, snapshot: &Snapshot, rate: &str) -> String {
    let processed = humanize::count(snapshot.tally.processed);
    let of = (run.total)().map(|total| format!(" of {}", humanize::count(total))).unwrap_or_default();
    format!("{}: {processed}{of} processed, {rate}{}\n", run.task, trouble(snapshot))
}

/// `price-orders 3,200/9,994 [===>        ] 320/s, ETA 21s, 12 failed, 3 retries, 8 in flight`: the most
/// important values are first, because a narrow terminal shows only the start.
fn row(run: &Watched, snapshot: &Snapshot, rate: &str, time: &str) -> String {
    let done = snapshot.tally.processed;
    let mut row = format!("{} {}", run.task, humanize::count(done));
    if let Some(total) = (run.total)() {
        // Writing to a String cannot fail.
        let _ = write!(row, "/{} [{}]", humanize::count(total), gauge(done, total));
    }
    let _ = write!(row, " {rate}, {time}");
    let (failed, retries) = (snapshot.tally.failed.total(), snapshot.tally.retries);
    for (count, what) in [(failed, "failed"), (retries, "retries")] {
        if count > 0 {
            let _ = write!(row, ", {} {what}", humanize::count(count));
        }
    }
    let _ = write!(row, ", {} in flight", humanize::count(snapshot.in_flight as u64));
    row
}

/// The share that is done: `===>        `.
fn gauge(done: u64, total: u64) -> String {
    const CELLS: u64 = 12;
    let full = done.saturating_mul(CELLS).checked_div(total).unwrap_or_default().min(CELLS);
    (0..CELLS)
        .map(|cell| match cell.cmp(&full) {
            Ordering::Less => '=',
            Ordering::Equal => '>',
            Ordering::Greater => ' ',
        })
        .collect()
}

/// The values that show problems early: failures, retries and transactions in flight.
fn trouble(snapshot: &Snapshot) -> String {
    let n = humanize::count;
    let (failed, retries) = (snapshot.tally.failed.total(), snapshot.tally.retries);
    format!(", {} failed, {} retries, {} in flight", n(failed), n(retries), n(snapshot.in_flight as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::captured::Captured;
    use crate::telemetry::Tally;
    use crate::transaction::Category;

    #[tokio::test(start_paused = true)]
    async fn without_a_terminal_a_line_is_written_each_ten_seconds() {
        let monitor = Monitor::default();
        let mut tally = Tally::default();
        (tally.processed, tally.retries) = (3200, 3);
        monitor.attach(move || Snapshot { tally: tally.clone(), in_flight: 8, undelivered: None });
        let captured = Captured::default();
        let run = Watched { task: "price-orders", total: Arc::new(|| Some(9994)), monitor };
        let progress = Progress::start(&captured.output(false), vec![run]);
        tokio::time::sleep(Duration::from_secs(21)).await;
        progress.finish();
        assert_eq!(
            captured.talk.text(),
            "price-orders: 3,200 of 9,994 processed, 320/s, 0 failed, 3 retries, 8 in flight\n\
             price-orders: 3,200 of 9,994 processed, 0/s, 0 failed, 3 retries, 8 in flight\n"
        );
    }

    #[test]
    fn a_row_shows_first_how_far_it_is() {
        let mut snapshot = Snapshot { in_flight: 8, ..Snapshot::default() };
        snapshot.tally.processed = 3200;
        let shown = |snapshot: &Snapshot, total: Option<u64>| {
            let run =
                Watched { task: "price-orders", total: Arc::new(move || total), monitor: Monitor::default() };
            row(&run, snapshot, "320/s", "ETA 21s")
        };
        assert_eq!(
            shown(&snapshot, Some(9994)),
            "price-orders 3,200/9,994 [===>        ] 320/s, ETA 21s, 8 in flight"
        );
        snapshot.tally.retries = 3;
        snapshot.tally.failed.add(Category::Business);
        assert_eq!(
            shown(&snapshot, None),
            "price-orders 3,200 320/s, ETA 21s, 1 failed, 3 retries, 8 in flight"
        );
    }

    #[test]
    fn the_gauge_goes_from_nothing_to_all() {
        let ends = [gauge(0, 10), gauge(10, 10), gauge(11, 10), gauge(0, 0)];
        assert_eq!(ends, [">           ", "============", "============", ">           "]);
    }
}
