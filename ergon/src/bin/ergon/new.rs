//! `new`: a project that compiles, runs on its sample file and passes its tests at once.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::args::{self, New};
use super::error::CommandError;
use super::files::NewFiles;
use super::{name, observability, template};

/// Makes a project; says what was made, and what comes next.
pub(crate) fn new(new: &New) -> Result<String, CommandError> {
    let (name, folder) = named(new)?;
    name::project(&name)?;
    let dependency = dependency(&new.from)?;
    let mut files = NewFiles::of(folder.clone(), "name another folder");
    for (path, text) in template::PROJECT {
        files.add(*path, template::of_project(text, &name, &dependency));
    }
    // As they are: dashboards have double braces of their own.
    for (path, text) in observability::FILES {
        files.add(*path, (*text).to_owned());
    }
    files.write()?;
    Ok(told(&name, &folder, files.paths().count()))
}

/// The project's name and folder; `.` is the present folder, which gives the name as well.
fn named(new: &New) -> Result<(String, PathBuf), CommandError> {
    if new.project != "." {
        let folder = new.folder.clone().unwrap_or_else(|| PathBuf::from(&new.project));
        return Ok((new.project.clone(), folder));
    }
    if new.folder.is_some() {
        return Err(CommandError::usage("`.` is a folder, and another folder is named")
            .with_hint("write `ergon new <name> <folder>`"));
    }
    let present = std::env::current_dir()
        .map_err(|error| CommandError::failed(format!("the present folder cannot be told: {error}")))?;
    match present.file_name() {
        Some(name) => Ok((name.to_string_lossy().into_owned(), PathBuf::from("."))),
        None => {
            Err(CommandError::usage("the present folder has no name").with_hint("write `ergon new <name> .`"))
        }
    }
}

/// The line of `Cargo.toml` that says where `ergon` comes from.
fn dependency(from: &args::From) -> Result<String, CommandError> {
    let place = match (&from.ergon_path, &from.ergon_git) {
        (Some(path), _) => format!("path = {:?}", crate_folder(path)?),
        (None, Some(url)) => format!("git = {url:?}"),
        // A version of a registry would be one that is not there, and the project would not build.
        (None, None) => {
            return Err(CommandError::usage(
                "where the project gets the crate `ergon` from is not said; it is in no registry yet",
            )
            .with_hint(
                "add `--ergon-path FOLDER`, the folder `ergon` of the repository, or `--ergon-git URL`",
            ));
        }
    };
    Ok(format!("ergon = {{ {place}, features = [\"cli\", \"health\", \"opentelemetry\"] }}"))
}

/// The folder of the crate `ergon`, in full.
fn crate_folder(path: &Path) -> Result<String, CommandError> {
    let shown = path.display();
    let full =
        path.canonicalize().map_err(|error| CommandError::usage(format!("--ergon-path {shown}: {error}")))?;
    let manifest = std::fs::read_to_string(full.join("Cargo.toml")).unwrap_or_default();
    if !manifest.lines().any(|line| line.trim() == "name = \"ergon\"") {
        return Err(CommandError::usage(format!(
            "--ergon-path {shown} is not the folder of the crate `ergon`"
        ))
        .with_hint("it is the folder `ergon` of the repository"));
    }
    Ok(full.to_string_lossy().into_owned())
}

fn told(name: &str, folder: &Path, files: usize) -> String {
    let mut text = format!("made {name}: {files} files in {}\n\n", folder.display());
    // Writing to a String cannot fail, here and below.
    if folder != Path::new(".") {
        let _ = writeln!(text, "  cd {}", folder.display());
    }
    let _ = writeln!(text, "  cargo run -- run example-task   # five sample orders");
    let _ = writeln!(text, "  cargo test");
    text
}
