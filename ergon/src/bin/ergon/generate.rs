//! `generate`: adds a task, a connector or a service to a project, without overwriting a file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::args::{Generate, Named};
use super::edit::{Addition, Edit};
use super::error::CommandError;
use super::files::NewFiles;
use super::name::Name;
use super::template::{self, Row};

/// The attribute above the module of an adapter that no task uses yet.
const UNUSED: &str = "#[allow(\n    dead_code,\n    unused_imports,\n    reason = \"remove this attribute when a task uses it\"\n)]\n";

/// Adds a part to a project. Returns the report: created and changed files, and the lines that the user has to add.
pub(crate) fn generate(what: &Generate) -> Result<String, CommandError> {
    match what {
        Generate::Task(named) => task(named),
        Generate::Connector(named) => adapter(named, "connector", template::CONNECTOR),
        Generate::Service(named) => adapter(named, "service", template::SERVICE),
    }
}

fn task(named: &Named) -> Result<String, CommandError> {
    let project = Project::find(named)?;
    let name = Name::new(&named.name, "task")?;
    let module = &name.module;
    let mut files = project.part("task", &name, template::TASK)?;
    let sample = format!("data/{module}.jsonl");
    let mut edits = vec![
        project.above_mark("src/tasks/mod.rs", &[Addition::module(module, "")])?,
        project.above_mark("src/main.rs", &[Addition::registration(module)])?,
        project.above_mark("src/settings.rs", &Addition::fields(template::TASK_SETTINGS, &name))?,
        project.at_end("ergon.toml", &Addition::tables(template::TASK_TABLES, &name))?,
    ];
    if project.0.join(&sample).exists() {
        edits.push(Edit::kept(&sample));
    } else {
        files.add(&sample, template::TASK_SAMPLE.to_owned());
    }
    files.write()?;
    let next = format!("\n  cargo run -- run {}   # its sample file is {sample}\n", name.kebab);
    report(&files, &edits, &next)
}

fn adapter(named: &Named, what: &str, rows: &[Row]) -> Result<String, CommandError> {
    let project = Project::find(named)?;
    let name = Name::new(named.name.trim_end_matches("-service").trim_end_matches("_service"), what)?;
    let Name { module, camel, .. } = &name;
    let files = project.part(what, &name, rows)?;
    let line = Addition::module(module, UNUSED);
    let edits = [project.above_mark(&format!("src/{what}s/mod.rs"), &[line])?];
    files.write()?;
    let config = if what == "service" { format!("{camel}ServiceConfig") } else { format!("{camel}Config") };
    let next = format!(
        "\n  To use it, add `pub(crate) {module}: crate::{what}s::{module}::{config},` to src/settings.rs,\n  `[{module}.client]` with `url = \"...\"` to ergon.toml, and `settings.{module}.clone()` to the config of a task.\n"
    );
    report(&files, &edits, &next)
}

/// The folder of a project.
struct Project(PathBuf);

impl Project {
    /// The named folder, or else the current folder or the nearest one above it that is a project.
    fn find(named: &Named) -> Result<Self, CommandError> {
        let is_project =
            |folder: &Path| folder.join("ergon.toml").is_file() && folder.join("src/tasks/mod.rs").is_file();
        let missing = |folder: &Path| {
            CommandError::failed(format!(
                "{} is not a project: it has no ergon.toml and src/tasks/mod.rs",
                folder.display()
            ))
            .with_hint("`ergon new` creates a project; `--project` names the folder of a project")
        };
        if let Some(folder) = &named.project {
            return if is_project(folder) { Ok(Self(folder.clone())) } else { Err(missing(folder)) };
        }
        let current = std::env::current_dir().map_err(|error| {
            CommandError::failed(format!("the current folder cannot be determined: {error}"))
        })?;
        let found = current.ancestors().find(|folder| is_project(folder));
        found.map(|folder| Self(folder.to_owned())).ok_or_else(|| missing(&current))
    }

    /// The files of a part, in its own folder.
    ///
    /// # Errors
    /// The name has another meaning in the project.
    fn part(&self, what: &str, name: &Name, rows: &[Row]) -> Result<NewFiles, CommandError> {
        name.check_within(what, rows)?;
        let folder = format!("src/{what}s/{}", name.module);
        if self.0.join(format!("{folder}.rs")).exists() {
            return Err(name.refused(what, &format!("{folder}.rs exists already")));
        }
        let mut files = NewFiles::of(self.0.clone(), "choose another name");
        for (path, text) in rows {
            files.add(format!("{folder}/{path}"), template::of_part(text, name));
        }
        Ok(files)
    }

    fn above_mark(&self, path: &str, additions: &[Addition]) -> Result<Edit, CommandError> {
        Ok(Edit::above_mark(path, self.0.join(path), &self.read(path)?, additions))
    }

    fn at_end(&self, path: &str, additions: &[Addition]) -> Result<Edit, CommandError> {
        Ok(Edit::at_end(path, self.0.join(path), &self.read(path)?, additions))
    }

    fn read(&self, path: &str) -> Result<String, CommandError> {
        let file = self.0.join(path);
        std::fs::read_to_string(&file).map_err(|error| {
            CommandError::failed(format!("cannot read {}: {error}; nothing was written", file.display()))
        })
    }
}

/// Makes the changes. Returns the report: created and changed files, and the next steps.
fn report(files: &NewFiles, edits: &[Edit], next: &str) -> Result<String, CommandError> {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for path in files.paths() {
        let _ = writeln!(text, "created  {}", path.display());
    }
    let mut by_hand = String::new();
    for edit in edits {
        edit.make(&mut text, &mut by_hand)?;
    }
    Ok(text + &by_hand + next)
}
