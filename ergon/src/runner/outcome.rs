//! Combines the results of the runs of a command into its outcome: the only code that makes an exit code of results.

use super::stopping::Reason;
use super::{Exit, Finished};
use crate::error::Error;
use crate::settings::{Breach, FailWhen, Figure};
use crate::telemetry::{Ended, Tally};

/// The outcome of the runs.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) finished: Vec<Finished>,
    /// The errors that kept all runs from starting.
    pub(crate) refused: Vec<Error>,
    /// The reason why the runs were stopped before their work was done.
    pub(crate) reason: Option<Reason>,
    /// The conditions of `fail_when` that hold for all tasks together.
    pub(crate) breaches: Vec<Breach>,
}

impl Outcome {
    /// The outcome of runs that did not start because of errors.
    pub(crate) fn refused(refused: Vec<Error>) -> Self {
        Self { refused, ..Self::default() }
    }

    /// The outcome of runs that did not start because of a stop, if there is a reason.
    pub(crate) fn stopped(reason: Option<Reason>) -> Self {
        Self { reason, ..Self::default() }
    }

    /// Applies the conditions of `fail_when` to each run, and to all runs together if there are several.
    pub(crate) fn judged(mut self, fail_when: Option<&FailWhen>) -> Self {
        let Some(fail_when) = fail_when else { return self };
        for finished in &mut self.finished {
            finished.breaches = fail_when.breaches(|figure| figure_of(&finished.report.tally, figure));
        }
        if self.finished.len() > 1 {
            let all = |figure| self.finished.iter().map(|run| figure_of(&run.report.tally, figure)).sum();
            self.breaches = fail_when.breaches(all);
        }
        self
    }

    /// The exit of the process. The reason of a stop comes first, then errors that kept the runs from starting, then
    /// failures of the runs; a permanent error comes before one that may pass. The exit is a success only if nothing
    /// failed.
    pub(crate) fn exit(&self) -> Exit {
        if let Some(reason) = &self.reason {
            return reason.exit();
        }
        if !self.refused.is_empty() {
            return Exit::of_errors(&self.refused);
        }
        if self.breaches.is_empty() && self.finished.iter().all(Finished::went_well) {
            return Exit::Success;
        }
        let failures = self.finished.iter().filter_map(|finished| match &finished.report.ended {
            Ended::Failed(error) => Some(Exit::of_error(error)),
            _ => None,
        });
        failures.fold(Exit::Failure, |worst, exit| if exit == Exit::Usage { exit } else { worst })
    }
}

impl Finished {
    /// Whether the run succeeded: only transactions failed, and at most as many as `fail_when` allows.
    fn went_well(&self) -> bool {
        let failed = matches!(self.report.ended, Ended::Failed(_));
        let handled = self.report.tally.handler_failures == 0;
        !failed && handled && self.close_errors.is_empty() && self.breaches.is_empty()
    }
}

fn figure_of(tally: &Tally, figure: Figure) -> u64 {
    match figure {
        Figure::Fetched => tally.fetched,
        Figure::Processed => tally.processed,
        Figure::Succeeded => tally.succeeded,
        Figure::Failed => tally.failed.total(),
        Figure::Business => tally.failed.business,
        Figure::System => tally.failed.system,
        Figure::Timeout => tally.failed.timeout,
        Figure::Rejected => tally.rejected,
        Figure::DeadLettered => tally.dead_lettered,
        Figure::Undelivered => tally.undelivered,
        Figure::HandlerFailures => tally.handler_failures,
        Figure::Retries => tally.retries,
        Figure::Requeued => tally.requeued,
        Figure::GivenBack => tally.given_back,
        Figure::Unknown => tally.unknown,
        Figure::Produced => tally.produced,
        Figure::AbandonedThreads => tally.abandoned_threads,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::ErrorKind;
    use crate::runner::Signal;
    use crate::telemetry::RunReport;

    fn finished(change: impl FnOnce(&mut Finished)) -> Finished {
        let report = RunReport::new("orders", Tally::default(), Duration::ZERO, Ended::SourceEmpty);
        let mut finished =
            Finished { report, close_errors: Vec::new(), breaches: Vec::new(), supervised: None };
        change(&mut finished);
        finished
    }

    fn failed(kind: ErrorKind) -> Finished {
        finished(|run| run.report.ended = Ended::Failed(Error::new(kind, "broken")))
    }

    fn breached() -> FailWhen {
        "succeeded < 1".parse().unwrap()
    }

    fn exit(finished: Vec<Finished>) -> Exit {
        Outcome { finished, ..Outcome::default() }.exit()
    }

    const KINDS: [ErrorKind; 8] = [
        ErrorKind::Settings,
        ErrorKind::Usage,
        ErrorKind::Policy,
        ErrorKind::Connector,
        ErrorKind::Refused,
        ErrorKind::Service,
        ErrorKind::Task,
        ErrorKind::LoopTimeout,
    ];

    #[test]
    fn no_run_that_failed_in_any_way_exits_0() {
        let failures = KINDS.map(failed).into_iter().chain([
            finished(|run| run.report.tally.handler_failures = 1),
            finished(|run| run.close_errors.push(Error::new(ErrorKind::Connector, "the disk is full"))),
            finished(|run| run.breaches = breached().breaches(|_| 0)),
        ]);
        for failure in failures {
            let kind = format!("{failure:?}");
            assert_ne!(exit(vec![finished(|_| ()), failure, finished(|_| ())]).code(), 0, "{kind}");
        }
        let together = Outcome {
            finished: vec![finished(|_| ())],
            breaches: breached().breaches(|_| 0),
            ..Outcome::default()
        };
        assert_eq!(together.exit(), Exit::Failure);
        for kind in KINDS {
            assert_ne!(Outcome::refused(vec![Error::new(kind, "it does not open")]).exit().code(), 0);
        }
        let reasons = [Signal::Interrupt, Signal::Terminate, Signal::Hangup].map(Reason::Signal);
        let others = [Reason::Orphaned, Reason::Stalled("it stood still".to_owned()), Reason::GivenUp];
        for reason in reasons.into_iter().chain(others) {
            assert_ne!(Outcome::stopped(Some(reason)).exit().code(), 0);
        }
        assert_eq!(exit(vec![finished(|_| ())]), Exit::Success);
    }

    #[test]
    fn what_is_refused_for_good_comes_before_what_may_pass() {
        let both = [failed(ErrorKind::Task), failed(ErrorKind::Refused)];
        assert_eq!(exit(both.into()), Exit::Usage);
        assert_eq!(exit(vec![failed(ErrorKind::Task)]), Exit::Failure);
    }

    #[test]
    fn each_run_is_judged_and_all_together() {
        let run = |rejected| finished(|run| run.report.tally.rejected = rejected);
        let judge = |condition: &str| {
            let outcome = Outcome { finished: vec![run(3), run(4)], ..Outcome::default() };
            let outcome = outcome.judged(Some(&condition.parse().unwrap()));
            let each: Vec<_> = outcome.finished.iter().map(|run| run.breaches.len()).collect();
            (each, outcome.breaches.len(), outcome.exit().code())
        };
        assert_eq!(judge("rejected > 3"), (vec![0, 1], 1, 1));
        assert_eq!(judge("rejected > 5"), (vec![0, 0], 1, 1));
        assert_eq!(judge("rejected > 7"), (vec![0, 0], 0, 0));
    }
}
