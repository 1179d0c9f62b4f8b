//! `new`: creates a project that compiles, runs on its sample file and passes its tests.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::args::{self, New};
use super::error::CommandError;
use super::files::NewFiles;
use super::{name, observability, template};

/// Creates a project. Returns the report: the created files and the next steps.
pub(crate) fn new(new: &New) -> Result<String, CommandError> {
    let (name, folder) = named(new)?;
    name::project(&name)?;
    let dependency = dependency(&new.from)?;
    let mut files = NewFiles::of(folder.clone(), "name another folder");
    for (path, text) in template::PROJECT {
        files.add(*path, template::of_project(text, &name, &dependency));
    }
    // These files stay unchanged, because dashboards have their own double braces.
    for (path, text) in observability::FILES {
        files.add(*path, (*text).to_owned());
    }
    files.write()?;
    Ok(report(&name, &folder, files.paths().count()))
}

/// The name and the folder of the project. `.` is the current folder, which gives the name too.
fn named(new: &New) -> Result<(String, PathBuf), CommandError> {
    if new.project != "." {
        let folder = new.folder.clone().unwrap_or_else(|| PathBuf::from(&new.project));
        return Ok((new.project.clone(), folder));
    }
    if new.folder.is_some() {
        return Err(CommandError::usage("`.` names the current folder, but another folder is named too")
            .with_hint("write `ergon new <name> <folder>`"));
    }
    let current = std::env::current_dir()
        .map_err(|error| CommandError::failed(format!("the current folder cannot be determined: {error}")))?;
    match current.file_name() {
        Some(name) => Ok((name.to_string_lossy().into_owned(), PathBuf::from("."))),
        None => {
            Err(CommandError::usage("the current folder has no name").with_hint("write `ergon new <name> .`"))
        }
    }
}

/// The dependency on `ergon` in `Cargo.toml`.
fn dependency(from: &args::From) -> Result<String, CommandError> {
    let place = match (&from.ergon_path, &from.ergon_git) {
        (Some(path), _) => format!("path = {:?}", crate_folder(path)?),
        (None, Some(url)) => format!("git = {url:?}"),
        // Ergon is in no registry, so a project with a version would not build.
        (None, None) => {
            return Err(CommandError::usage(
                "the source of the crate `ergon` is not named, and the crate is in no registry yet",
            )
            .with_hint(
                "add `--ergon-path FOLDER`, the folder `ergon` of the repository, or `--ergon-git URL`",
            ));
        }
    };
    Ok(format!("ergon = {{ {place}, features = [\"cli\", \"health\", \"opentelemetry\"] }}"))
}

/// The absolute path of the folder of the crate `ergon`.
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

fn report(name: &str, folder: &Path, files: usize) -> String {
    let mut text = format!("created {name}: {files} files in {}\n\n", folder.display());
    // Writing to a String cannot fail, here and below.
    if folder != Path::new(".") {
        let _ = writeln!(text, "  cd {}", folder.display());
    }
    let _ = writeln!(text, "  cargo run -- run example-task   # five sample orders");
    let _ = writeln!(text, "  cargo test");
    text
}
