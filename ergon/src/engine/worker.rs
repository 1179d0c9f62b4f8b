//! Runs the steps of a task: the part of the engine that is compiled for each task. All functions that it calls are
//! compiled once.
//!
//! Each step is passed on as a [`Code`](super::attempt::Code), so that a further task adds little more than the code of
//! its steps to a program.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use super::attempt::code;
use super::lane::Lane;
use super::lifecycle::{Action, Event};
use super::processing::{Extent, Processing};
use super::slots::Next;
use super::steps::{Steps, Through};
use crate::telemetry::Step;
use crate::transaction::{Transaction, panic};

/// A decoded transaction, and the output of its first step.
type Made<S> =
    (<S as Steps>::Held<Transaction<<S as Steps>::Payload>>, <S as Steps>::Held<<S as Steps>::Output>);

/// Runs the deliveries of a lane through the steps of the task until there are no more.
pub(super) async fn work<S: Steps>(steps: Arc<S>, mut lane: Lane) {
    loop {
        match lane.next() {
            Next::Run => {
                let whole = match lane.begin() {
                    Some((given, watch)) => {
                        let mut processing = Processing::new(S::INFO, given);
                        let whole = {
                            let mut running = pin!(Some(run_steps(steps.as_ref(), &mut processing)));
                            watch.poll(&mut |context| drive(running.as_mut(), context)).await
                        };
                        processing.close();
                        whole
                    }
                    None => false,
                };
                lane.ended(whole);
            }
            Next::End => return,
            next => lane.turn_to(next).await,
        }
        lane.let_others_run().await;
    }
}

/// Polls a pinned future, or drops it: the counterpart of [`Code`](super::attempt::Code) for all steps of one
/// transaction together.
fn drive<F: Future<Output = ()>>(
    mut running: Pin<&mut Option<F>>,
    context: Option<&mut Context<'_>>,
) -> Poll<()> {
    let polled = match (context, running.as_mut().as_pin_mut()) {
        (Some(context), Some(steps)) => steps.poll(context),
        _ => Poll::Ready(()),
    };
    if polled.is_ready() {
        running.set(None);
    }
    polled
}

/// Calls `poll` with the context of the running tokio task.
async fn poll_once<R>(mut poll: impl FnMut(&mut Context<'_>) -> R) -> R {
    poll_fn(|context| Poll::Ready(poll(context))).await
}

/// Runs the steps of one transaction as its [lifecycle](super::lifecycle) asks for them, and dispatches a rejected
/// transaction to the dead-letter connector.
pub(super) async fn run_steps<S: Steps>(steps: &S, processing: &mut Processing<'_>) {
    let mut made: Option<Made<S>> = None;
    let (mut lifecycle, mut action) = processing.begin();
    loop {
        let event = match (action, &made) {
            (Action::Run(Step::Process | Step::Prepare), _) => {
                let event = first(steps, processing, &mut made).await;
                if processing.extent == Extent::FirstStep {
                    processing.is_aborted = event == Event::Aborted;
                    break;
                }
                event
            }
            (Action::Run(Step::Success), Some((transaction, output))) => {
                let children = transaction.children();
                let step = || {
                    transaction.rewind(children);
                    steps.success(transaction, output)
                };
                let mut running = pin!(None);
                let (runner, run) = (&mut processing.runner, &mut processing.runs.success);
                let mut made = None;
                let mut code = code(running.as_mut(), step, &mut made);
                match poll_once(|context| runner.first_poll(Step::Success, run, || code(Some(context)))).await
                {
                    Some(event) => event,
                    None => runner.run(Step::Success, run, &mut code).await,
                }
            }
            // The source delivers it again, and that delivery decides whether the transaction is wrong.
            (Action::Run(Step::Exception), _) if processing.runner.is_stale() => {
                processing.runner.drop_stale();
                Event::Aborted
            }
            (Action::Run(Step::Exception), _) => exception(steps, processing).await,
            (Action::Settle(outcome, disposition), _) => {
                processing.end(outcome, disposition).await;
                break;
            }
            // The lifecycle asks for success only when the first step has made something.
            (Action::Run(Step::Success), None) | (Action::Nothing, _) => Event::Aborted,
        };
        action = lifecycle.on(event);
    }
    // The `Drop` of an output may panic; the panic must not change the outcome.
    let _ = panic::guard(|| drop(made));
}

/// Decodes the transaction, runs the first step, and then the outbound transactions of a hybrid.
async fn first<S: Steps>(steps: &S, processing: &mut Processing<'_>, made: &mut Option<Made<S>>) -> Event {
    let (transaction, receipt) = (processing.runner.transaction, processing.runner.receipt);
    let transaction = match panic::guard(|| steps.open(transaction, receipt)) {
        Ok(Ok(transaction)) => transaction,
        Ok(Err(error)) | Err(error) => return processing.undecodable(error),
    };
    let mut output = None;
    let event = {
        let step = || {
            transaction.rewind(0);
            steps.first(&transaction)
        };
        let mut running = pin!(None);
        let (runner, run) = (&mut processing.runner, &mut processing.runs.first);
        let mut code = code(running.as_mut(), step, &mut output);
        match poll_once(|context| runner.first_poll(S::INFO.first, run, || code(Some(context)))).await {
            Some(event) => event,
            None => runner.run(S::INFO.first, run, &mut code).await,
        }
    };
    let Some(output) = output.filter(|_| event == Event::Completed) else {
        // The `Drop` of a payload may panic; the panic must not change the outcome.
        let _ = panic::guard(|| drop(transaction));
        return event;
    };
    let (_, output) = made.insert((transaction, output.into()));
    if processing.extent != Extent::Whole {
        processing.shown = panic::guard(|| steps.show(output)).ok().flatten().map(Box::new);
    }
    match processing.runner.context.outbound.as_deref() {
        Some(context) if S::INFO.hybrid && processing.extent != Extent::FirstStep => {
            let (mut through, mut running) = (None, pin!(None));
            let event = {
                let mut code = code(running.as_mut(), || steps.outbound(context, output), &mut through);
                processing.outbound(&mut code).await
            };
            if through == Some(Through::Abandoned) { Event::Aborted } else { event }
        }
        _ => event,
    }
}

async fn exception<S: Steps>(steps: &S, processing: &mut Processing<'_>) -> Event {
    let Processing { runner, runs, .. } = processing;
    let (Some(error), run) = runs.split_error() else { return Event::Aborted };
    let (transaction, mut decided) = (runner.transaction, None);
    let mut running = pin!(None);
    let step = || steps.exception(transaction, error);
    let event = runner.run(Step::Exception, run, &mut code(running.as_mut(), step, &mut decided)).await;
    match (event, decided) {
        (Event::Completed, Some(disposition)) => Event::Decided(disposition),
        (event, _) => event,
    }
}
