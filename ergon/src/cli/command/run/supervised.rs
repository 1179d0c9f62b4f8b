//! Supervises the processes that run the tasks, and reports on all of them together.

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::reporter::{cut_short, of_terminal};
use super::{Ready, Wish, conclude, kept, no_threads, ready};
use crate::cli::output::Output;
use crate::cli::progress::{Progress, Watched};
use crate::cli::summary::Kept;
use crate::error::Error;
use crate::runner::health::{self, Look};
use crate::runner::stopping::Rules;
use crate::runner::supervisor::{Lines, WorkerGroup, WorkerOutput, Workers};
use crate::runner::{Control, Exit, Obeying, Plan, Signal, monitor};
use crate::task::{Form, Stop};

/// Runs each task in the given number of processes.
pub(super) fn run(plans: Vec<Plan>, workers: &[usize], wish: Wish<'_>) -> Result<Exit, Error> {
    let output = wish.output;
    let (control, arriving) = Control::start().map_err(no_threads)?;
    let posts: Vec<WorkerGroup> =
        plans.iter().zip(workers).map(|(plan, workers)| post(plan, *workers)).collect();
    let stop = Stop::default();
    let crew = Workers::new(posts.clone(), voice(output), stop.clone(), control.orders.clone());
    let watched: Vec<Watched> = posts.iter().map(|post| watched(&crew, post)).collect();
    let obeying = Obeying::new(control, arriving, stop, rules(&crew, &posts, wish));
    let Ready { built, listener } = match ready(plans, workers, &obeying, wish)? {
        ControlFlow::Continue(ready) => ready,
        ControlFlow::Break(exit) => return Ok(exit),
    };
    let kept: Vec<Kept> = built.iter().map(kept).collect();
    // The build only finds errors early. The workers run the tasks.
    drop(built);
    let Obeying { control, stop, stopping } = obeying;
    let look: Look = Arc::new(crew.vitals());
    if let Some(listener) = listener {
        control.handle.spawn(health::serve(listener, Arc::clone(&look), Arc::new(crew.metrics())));
    }
    control.handle.spawn(monitor(look, stop.drain, |_| ()));
    // The runtime stays on this thread, because a worker receives a signal when the thread that started it ends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_threads)?;
    let outcome = runtime.block_on(async {
        let progress = wish.progress.then(|| Progress::start(output, watched));
        let outcome = crew.run(&stopping).await;
        if let Some(progress) = progress {
            progress.finish();
        }
        outcome
    });
    stopping.over();
    conclude(outcome.map_err(no_threads)?, kept, wish)
}

fn post(plan: &Plan, workers: usize) -> WorkerGroup {
    let policies = &plan.policies;
    let limit = match (&policies.consumer, &policies.producer) {
        // Each of its loops may have its own limit.
        _ if plan.config.outline.form == Form::Execute => None,
        (Some(policy), _) => policy.limit,
        (None, producer) => producer.as_ref().and_then(|policy| policy.limit),
    };
    WorkerGroup { task: plan.config.name(), workers, limit, grace: policies.grace() }
}

/// The rules for a stop of the workers. Workers that still run when the process ends are killed before.
fn rules(crew: &Workers, posts: &[WorkerGroup], wish: Wish<'_>) -> Rules {
    let grace = posts.iter().map(|post| post.grace).max().unwrap_or_default();
    let workers: usize = posts.iter().map(|post| post.workers).sum();
    let monitors = posts.iter().map(|post| (post.task, crew.monitor(post.task))).collect();
    let words = cut_short(wish.output, monitors, wish.format);
    let Rules { limit, on_first, on_second, last_words, leave } =
        of_terminal(wish.output, grace, move || format!("{workers} workers"), words);
    let (now, at_last) = (crew.shared(), crew.shared());
    let on_second = on_second.map(|leaves| -> Box<dyn FnOnce(Signal) + Send> {
        Box::new(move |signal| {
            now.kill();
            leaves(signal);
        })
    });
    let leave = Box::new(move |exit| {
        at_last.kill();
        leave(exit);
    });
    Rules { limit, on_first, on_second, last_words, leave }
}

fn voice(output: &Output) -> WorkerOutput {
    let (lines, data, errors) = (output.clone(), output.clone(), output.clone());
    // Above a bar, the lines of workers are written here; without a bar, workers write their lines themselves.
    let through = !output.bars().is_hidden();
    // The worker does not learn of a line that cannot be written.
    let show = move |line: &str| drop(data.data(line));
    WorkerOutput {
        data: (through && io::stdout().is_terminal()).then(|| -> Lines { Arc::new(show) }),
        lines: through.then(|| -> Lines { Arc::new(move |line| lines.write(line)) }),
        error: Arc::new(move |error| errors.error(error)),
        colour: output.colour(),
    }
}

fn watched(crew: &Workers, post: &WorkerGroup) -> Watched {
    Watched { task: post.task, total: Arc::new(crew.total(post.task)), monitor: crew.monitor(post.task) }
}
