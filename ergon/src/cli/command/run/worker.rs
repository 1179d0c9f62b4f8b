//! Runs one task in this process for a supervisor, and reports to it.

use super::Wish;
use crate::error::{Error, ErrorKind};
use crate::runner::{Exit, Plan, WorkerIdentity};

#[cfg(not(unix))]
pub(super) fn run(_: Vec<Plan>, _: &WorkerIdentity, _: Wish<'_>) -> Result<Exit, Error> {
    Err(Error::new(ErrorKind::Usage, "workers are not supported on this system"))
}

#[cfg(unix)]
pub(super) use joined::run;

#[cfg(unix)]
mod joined {
    use super::super::in_process::{Place, rules, run_all};
    use super::super::no_threads;
    use super::super::reporter::Reporter;
    use super::{Error, ErrorKind, Exit, Plan, Wish, WorkerIdentity};
    use crate::runner::stopping::Reason;
    use crate::runner::supervisor::{End, Ending, Fault, Link, Message};
    use crate::runner::{Control, Finished, Obeying, runtime};
    use crate::task::{Monitor, Stop};
    use crate::telemetry::Ended;

    /// Runs this worker's share of its task.
    pub(crate) fn run(plans: Vec<Plan>, identity: &WorkerIdentity, wish: Wish<'_>) -> Result<Exit, Error> {
        let plan = plans.into_iter().find(|plan| plan.config.name() == identity.task);
        let plan = plan.ok_or_else(|| {
            Error::new(ErrorKind::Usage, format!("this program does not run the task `{}`", identity.task))
        })?;
        let streaming = plan.policies.consumer.as_ref().is_some_and(|policy| policy.streaming);
        identity.shard.take_place();
        let (control, arriving) = Control::start().map_err(no_threads)?;
        let link = Link::join(identity, control.orders.clone()).map_err(no_supervisor)?;
        let reporter = Reporter::Supervisor(link.clone(), wish.output.clone(), wish.progress);
        let monitors = vec![Monitor::default()];
        let rules = rules(&reporter, std::slice::from_ref(&plan), &monitors, wish.format);
        let obeying = Obeying::new(control, arriving, Stop::default(), rules);
        let (shard, is_restart) = (identity.shard, identity.is_restart);
        let builds = move || if is_restart { plan.resume(shard) } else { plan.build(shard) };
        let built = match obeying.build(builds).map_err(no_threads)? {
            Some(Ok(built)) => built,
            Some(Err(errors)) => {
                reporter.refused(&errors);
                return Ok(Exit::of_errors(&errors));
            }
            None => return Ok(obeying.exit()),
        };
        let stall_after = wish.project.framework.runner.stall_after();
        let place = Place { obeying, monitors, reporter, listener: None, stall_after };
        let runtime = runtime().map_err(no_threads)?;
        let outcome = runtime.block_on(run_all(vec![built], place));
        runtime.shutdown_background();
        if let Some(finished) = outcome.finished.first() {
            link.finish(&Message::Ended(Box::new(ending(finished, outcome.reason.as_ref(), streaming))));
        }
        // `fail_when` is judged over all workers together.
        Ok(outcome.exit())
    }

    fn ending(finished: &Finished, reason: Option<&Reason>, streaming: bool) -> Ending {
        let report = &finished.report;
        // A new process has no abandoned threads, and a streaming task may continue after a connector recovers.
        let may_pass = match &report.ended {
            Ended::Failed(error) => {
                let passing = [ErrorKind::Task, ErrorKind::Connector, ErrorKind::Service];
                passing.contains(&error.kind()) && (streaming || report.tally.abandoned_threads > 0)
            }
            _ => false,
        };
        Ending {
            tally: report.tally.clone(),
            elapsed: report.elapsed,
            ended: End::from(&report.ended),
            close_faults: finished.close_errors.iter().map(Fault::from).collect(),
            again: may_pass || matches!(reason, Some(Reason::Stalled(_))),
        }
    }

    fn no_supervisor(error: std::io::Error) -> Error {
        Error::new(ErrorKind::Task, "this worker cannot reach its supervisor").with_source(error)
    }
}
