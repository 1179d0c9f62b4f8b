//! Reads the configuration of a project: its connectors and services, and the settings of the framework.
//!
//! `ergon.toml`, `.env` and the process environment are merged into one tree in which every value has its origin. The
//! user's `Settings` and the tables of the framework are deserialized from the tree.

mod dotenv;
mod duration;
mod exports;
mod fail_when;
mod fault;
mod framework;
mod leak;
mod origin;
mod path;
pub(crate) mod plan;
mod probe;
mod problem;
mod reader;
mod setting;
mod size;
mod slip;
mod sources;
pub(crate) mod suggest;
mod telemetry;
mod tree;

#[cfg(test)]
mod canary;
#[cfg(test)]
mod tests;

use serde::de::DeserializeOwned;

pub use path::FilePath;
pub use secrecy::SecretString;
pub use size::{ByteSize, ByteSizeError};

pub(crate) use fail_when::{Breach, FailWhen, Figure};
pub(crate) use framework::Framework;
pub(crate) use origin::{Origin, SourceFile};
pub(crate) use plan::LogFormat;
pub(crate) use problem::{Problem, Problems};
pub(crate) use sources::{Options, no_colour};

use crate::error::Error;

/// The settings of the user and of the framework.
#[derive(Debug)]
pub(crate) struct Loaded<S> {
    pub(crate) settings: S,
    pub(crate) framework: Framework,
}

/// Reads the settings.
///
/// # Errors
/// One problem for each invalid table of the framework. For the user's settings: one problem, or all unknown keys of one
/// table.
pub(crate) fn load<S: DeserializeOwned>(options: &Options) -> Result<Loaded<S>, Error> {
    let mut sources = sources::gather(options)?;
    let slips = slip::find::<S>(&sources.variables);
    let mut problems = Vec::new();
    let framework = Framework::take(&mut sources, &mut problems);
    let read = reader::read::<S>(&sources.tree, "");
    let (settings, mut found) = match read {
        Ok(settings) => (Some(settings), slips),
        Err(mut found) => {
            for problem in &mut found {
                add_places(problem, &sources.searched);
            }
            // For a misspelt variable, the problem of its name is more precise than that of its first key.
            found.retain(|problem| !slips.iter().any(|slip| slip.place.at() == problem.place.at()));
            (None, slips.into_iter().chain(found).collect())
        }
    };
    found.append(&mut problems);
    match settings {
        Some(settings) if found.is_empty() => Ok(Loaded { settings, framework }),
        _ => Err(found.into()),
    }
}

/// Adds the searched places if there is no settings file.
fn add_places(problem: &mut Problem, searched: &[String]) {
    if matches!(problem.place, Origin::Nowhere) && !searched.is_empty() {
        let places = suggest::list(searched, "and");
        problem.hints.push(format!("note: looked for {places}; --config names another file"));
    }
}
