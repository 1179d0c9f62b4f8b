//! Supervises the processes that run the tasks, and tells of all of them together.

use std::io::{self, IsTerminal};
use std::net::TcpListener;
use std::sync::Arc;

use super::audience::{of_terminal, tell};
use super::{Wish, kept, no_threads, write};
use crate::cli::output::Output;
use crate::cli::progress::{Progress, Watched};
use crate::cli::summary::Kept;
use crate::error::Error;
use crate::runner::health::{self, Look};
use crate::runner::stopping::Stopping;
use crate::runner::supervisor::{Crew, Lines, Outcome, Post, Voice};
use crate::runner::{Built, Control, Exit, attend};
use crate::task::Stop;

/// Runs each task in so many processes.
pub(super) fn run(
    tasks: Vec<(Built, usize)>,
    listener: Option<TcpListener>,
    wish: Wish<'_>,
) -> Result<Exit, Error> {
    let output = wish.output;
    let (control, arriving) = Control::start().map_err(no_threads)?;
    let kept: Vec<Kept> = tasks.iter().map(|(task, _)| kept(task)).collect();
    let posts: Vec<Post> = tasks
        .iter()
        .map(|(task, workers)| Post { task: task.name, workers: *workers, grace: task.policies.grace() })
        .collect();
    // They were built to find what is wrong with them; it is the workers that run them.
    drop(tasks);
    let grace = posts.iter().map(|post| post.grace).max().unwrap_or_default();
    let stop = Stop::default();
    let crew = Crew::new(posts.clone(), voice(output), stop.clone(), control.orders.clone());
    let watched: Vec<Watched> = posts.iter().map(|post| watched(&crew, post)).collect();
    let workers: usize = posts.iter().map(|post| post.workers).sum();
    let processes = crew.shared();
    let rules = of_terminal(output, grace, move || format!("{workers} workers"), move || processes.kill());
    let stopping = Stopping::obey(&control.handle, arriving, stop.clone(), rules);
    let look: Look = Arc::new(crew.vitals());
    if let Some(listener) = listener {
        control.handle.spawn(health::serve(listener, Arc::clone(&look), Arc::new(crew.metrics())));
    }
    control.handle.spawn(attend(look, stop.drain, |_| ()));
    // On this very thread: workers are told of the death of the thread that started them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_threads)?;
    let outcome = runtime.block_on(async {
        let progress = wish.progress.then(|| Progress::start(output, watched));
        let outcome = crew.run(&stopping).await;
        if let Some(progress) = progress {
            progress.finish();
        }
        outcome
    });
    let Outcome { finished, exit } = outcome.map_err(no_threads)?;
    finished.iter().zip(kept).for_each(|(finished, kept)| tell(finished, kept, output));
    write(&finished, &[], exit, wish)
}

fn voice(output: &Output) -> Voice {
    let (lines, data, errors) = (output.clone(), output.clone(), output.clone());
    // Where there is a bar, lines go above it, so they come through here; else workers write for themselves.
    let through = !output.bars().is_hidden();
    // What cannot be written, the worker that wrote it is not told of: it is only shown here.
    let show = move |line: &str| drop(data.data(line));
    Voice {
        data: (through && io::stdout().is_terminal()).then(|| -> Lines { Arc::new(show) }),
        lines: through.then(|| -> Lines { Arc::new(move |line| lines.write(line)) }),
        error: Arc::new(move |error| errors.error(error)),
        colour: output.colour(),
    }
}

fn watched(crew: &Crew, post: &Post) -> Watched {
    Watched { task: post.task, total: Arc::new(crew.total(post.task)), monitor: crew.monitor(post.task) }
}
