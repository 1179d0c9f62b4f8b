//! Reports on a run: to the terminal or, in a worker, to the supervisor.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cli::args::Format;
use crate::cli::humanize;
use crate::cli::output::Output;
use crate::cli::progress::{Progress, Watched};
use crate::cli::summary::{self, Kept};
use crate::error::{Error, ErrorKind};
use crate::policy::duration::display;
use crate::runner::stopping::{LAST, LAST_OF_WORKER, Reason, Rules};
#[cfg(unix)]
use crate::runner::supervisor::{Fault, Link, Message};
use crate::runner::watch::Vitals;
use crate::runner::{Exit, Finished, Outcome, Signal};
use crate::task::{Monitor, Quota};
use crate::telemetry::{Ended, RunReport};

/// The receiver of the reports on a run.
#[derive(Clone)]
pub(super) enum Reporter {
    /// Standard error, with or without progress.
    Terminal(Output, bool),
    /// The supervisor that started this process, with or without progress.
    #[cfg(unix)]
    Supervisor(Link, Output, bool),
}

impl Reporter {
    /// Reports that the run cannot start.
    pub(super) fn refused(&self, errors: &[Error]) {
        match self {
            Self::Terminal(output, _) => errors.iter().for_each(|error| output.error(error)),
            #[cfg(unix)]
            Self::Supervisor(link, ..) => {
                link.finish(&Message::Refused { faults: errors.iter().map(Fault::from).collect() });
            }
        }
    }

    /// Reports that the run starts.
    pub(super) fn started(&self, runs: Vec<Watched>) -> Option<Progress> {
        match self {
            Self::Terminal(output, progress) => progress.then(|| Progress::start(output, runs)),
            #[cfg(unix)]
            Self::Supervisor(link, ..) => {
                link.send(&Message::Begun { total: runs.iter().map(|run| (run.total)()).sum() });
                None
            }
        }
    }

    /// Whether the progress of the run is shown.
    pub(super) fn shows_progress(&self) -> bool {
        match self {
            Self::Terminal(_, progress) => *progress,
            #[cfg(unix)]
            Self::Supervisor(.., progress) => *progress,
        }
    }

    /// Reports the number of transactions that a task has to process.
    pub(super) fn counted(&self, total: u64) {
        match self {
            // The bar reads the number itself.
            Self::Terminal(..) => (),
            // A worker runs one task.
            #[cfg(unix)]
            Self::Supervisor(link, ..) => link.send(&Message::Begun { total: Some(total) }),
        }
    }

    /// The limits that this worker shares with the other workers; none where the process is not a worker.
    pub(super) fn quota(&self) -> Option<Arc<dyn Quota>> {
        match self {
            Self::Terminal(..) => None,
            #[cfg(unix)]
            Self::Supervisor(link, ..) => Some(Arc::new(link.clone())),
        }
    }

    /// Reports the state of the run.
    pub(super) fn seen(&self, monitors: &[Monitor], vitals: Vitals) {
        match self {
            Self::Terminal(..) => drop(vitals),
            #[cfg(unix)]
            Self::Supervisor(link, ..) => {
                // The metrics are read first, so that the tally is never behind the metrics that a reader has seen.
                let metrics = crate::telemetry::exposition::text();
                for snapshot in monitors.iter().map(Monitor::snapshot) {
                    link.send(&Message::Progress {
                        tally: Box::new(snapshot.tally),
                        in_flight: snapshot.in_flight,
                        vitals: vitals.clone(),
                        metrics: metrics.clone(),
                    });
                }
            }
        }
    }

    /// The rules for a stop of the run.
    pub(super) fn rules(&self, grace: Duration, runs: Vec<(&'static str, Monitor)>, format: Format) -> Rules {
        match self {
            Self::Terminal(output, _) => {
                let monitors: Vec<Monitor> = runs.iter().map(|(_, monitor)| monitor.clone()).collect();
                let in_flight = move || {
                    let count: usize = monitors.iter().map(|monitor| monitor.snapshot().in_flight).sum();
                    format!("{} in flight", humanize::count(count as u64))
                };
                of_terminal(output, grace, in_flight, cut_short(output, runs, format))
            }
            #[cfg(unix)]
            Self::Supervisor(_, output, _) => Rules {
                limit: grace.saturating_add(LAST_OF_WORKER),
                on_first: Box::new(|_| ()),
                on_second: None,
                last_words: late(output),
                leave: Box::new(|exit| exit.now()),
            },
        }
    }
}

/// The rules for a stop at a terminal: they report the drain, and at the end the transactions that did not finish.
pub(in crate::cli::command) fn of_terminal(
    output: &Output,
    grace: Duration,
    what: impl FnOnce() -> String + Send + 'static,
    last_words: Box<dyn FnOnce(Reason) + Send>,
) -> Rules {
    let (talk, bars) = (output.clone(), output.clone());
    let on_first = move |reason: &Reason| {
        let (what, grace) = (what(), display(grace));
        let why = match reason {
            Reason::Stalled(why) => format!("{why}; "),
            _ => String::new(),
        };
        talk.talk(&format!(
            "{why}stopping: draining {what} (up to {grace}); press Ctrl-C again to stop immediately\n"
        ));
    };
    let on_second = move |signal: Signal| {
        // This leaves the terminal clean. Nothing can be done if it fails.
        let _ = bars.bars().clear();
        Exit::Stopped(signal).now()
    };
    Rules {
        limit: grace.saturating_add(LAST),
        on_first: Box::new(on_first),
        on_second: Some(Box::new(on_second)),
        last_words,
        leave: Box::new(|exit| exit.now()),
    }
}

/// The message at the end of the grace.
pub(in crate::cli::command) const LATE: &str =
    "not everything finished within the shutdown grace; unsettled transactions will be delivered again";

/// Reports that the grace is over.
fn late(output: &Output) -> Box<dyn FnOnce(Reason) + Send> {
    let output = output.clone();
    Box::new(move |_| output.warn(LATE))
}

/// Reports that the grace is over, and summarizes the runs.
pub(super) fn cut_short(
    output: &Output,
    runs: Vec<(&'static str, Monitor)>,
    format: Format,
) -> Box<dyn FnOnce(Reason) + Send> {
    let (output, began) = (output.clone(), Instant::now());
    Box::new(move |reason| {
        let finished: Vec<Finished> = runs
            .iter()
            .map(|(task, monitor)| {
                let ended = Ended::Failed(Error::new(ErrorKind::Task, LATE));
                let report = RunReport::new(*task, monitor.snapshot().tally, began.elapsed(), ended);
                Finished { report, close_errors: Vec::new(), breaches: Vec::new(), supervised: None }
            })
            .collect();
        let outcome = Outcome { finished, reason: Some(reason), ..Outcome::default() };
        if format == Format::Json {
            // Nothing can report an error of this output any more.
            let _ = output.data(&format!("{}\n", summary::json(&outcome)));
        }
        for finished in &outcome.finished {
            tell(finished, Kept::OutOfSight, &output);
        }
    })
}

/// Prints the summary of a run and its errors.
pub(super) fn tell(finished: &Finished, kept: Kept, output: &Output) {
    output.talk(&summary::text(finished, kept));
    if let Ended::Failed(error) = &finished.report.ended {
        output.error(error);
    }
    for error in &finished.close_errors {
        output.error(error);
    }
    for breach in &finished.breaches {
        output.error(&summary::breached(breach, Some(&finished.report.task)));
    }
}
