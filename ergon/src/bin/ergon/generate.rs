//! `generate`: adds a task, a connector or a service to a project.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::args::{Generate, Named};
use super::files::{self, NewFiles};
use super::name::Name;
use super::template::{self, Row};
use super::trouble::Trouble;

/// What every marked line begins with.
const MARK: &str = "// ergon:";

/// Adds one; says what was made and changed, and what is left to do by hand.
pub(crate) fn generate(what: &Generate) -> Result<String, Trouble> {
    match what {
        Generate::Task(named) => task(named),
        Generate::Connector(named) => adapter(named, "connector", "connectors", template::CONNECTOR),
        Generate::Service(named) => adapter(named, "service", "services", template::SERVICE),
    }
}

fn task(named: &Named) -> Result<String, Trouble> {
    let project = Project::find(named)?;
    let name = Name::new(&named.name, "task")?;
    let module = &name.module;
    let mut files = project.part("tasks", &name, template::TASK);
    files.add(format!("data/{module}.jsonl"), template::TASK_SAMPLE.to_owned());
    let edits = [
        project.above_mark("src/tasks/mod.rs", format!("pub(crate) mod {module};\n"))?,
        project.above_mark("src/main.rs", format!("tasks::{module}::config,\n"))?,
        project.above_mark("src/settings.rs", template::of_part(template::TASK_SETTINGS, &name))?,
        project.at_end("ergon.toml", &template::of_part(template::TASK_TABLES, &name))?,
    ];
    files.write()?;
    let next = format!("\n  cargo run -- run {}   # its sample is data/{module}.jsonl\n", name.kebab);
    told(&files, &edits, &next)
}

fn adapter(named: &Named, what: &str, folder: &str, rows: &[Row]) -> Result<String, Trouble> {
    let project = Project::find(named)?;
    let name = Name::new(named.name.trim_end_matches("-service").trim_end_matches("_service"), what)?;
    let Name { module, camel, .. } = &name;
    let files = project.part(folder, &name, rows);
    let line = format!(
        "#[allow(\n    dead_code,\n    unused_imports,\n    reason = \"until a task uses it: then remove this\"\n)]\npub(crate) mod {module};\n\n"
    );
    let edits = [project.above_mark(&format!("src/{folder}/mod.rs"), line)?];
    files.write()?;
    let config = if what == "service" { format!("{camel}ServiceConfig") } else { format!("{camel}Config") };
    let next = format!(
        "\n  to use it: in src/settings.rs `pub(crate) {module}: crate::{folder}::{module}::{config},`, in ergon.toml\n  `[{module}.client]` with `url = \"...\"`, and `settings.{module}.clone()` in the config of a task\n"
    );
    told(&files, &edits, &next)
}

/// A project that something is added to.
struct Project(PathBuf);

impl Project {
    /// The folder that was named, else the present one or the next above it that is a project.
    fn find(named: &Named) -> Result<Self, Trouble> {
        let is_project =
            |folder: &Path| folder.join("ergon.toml").is_file() && folder.join("src/tasks/mod.rs").is_file();
        let lost = |folder: &Path| {
            Trouble::failed(format!("{} is no project: no ergon.toml and src/tasks/mod.rs", folder.display()))
                .with_hint("`ergon new` makes one; `--project` names its folder")
        };
        if let Some(folder) = &named.project {
            return if is_project(folder) { Ok(Self(folder.clone())) } else { Err(lost(folder)) };
        }
        let present = std::env::current_dir()
            .map_err(|error| Trouble::failed(format!("the present folder cannot be told: {error}")))?;
        let found = present.ancestors().find(|folder| is_project(folder));
        found.map(|folder| Self(folder.to_owned())).ok_or_else(|| lost(&present))
    }

    /// The files of a part, in its own folder.
    fn part(&self, folder: &str, name: &Name, rows: &[Row]) -> NewFiles {
        let mut files = NewFiles::of(self.0.clone());
        for (path, text) in rows {
            files.add(format!("src/{folder}/{}/{path}", name.module), template::of_part(text, name));
        }
        files
    }

    /// Lines that go above a file's marked line, as far in as that line is.
    fn above_mark(&self, path: &str, lines: String) -> Result<Edit, Trouble> {
        let text = self.read(path)?;
        let changed = marked(&text).map(|(before, indent, after)| {
            let lines = indented(&lines, indent);
            // A module stands among its neighbours in the order of the alphabet, as the formatter wants it.
            let later = |line: &&str| line.starts_with("pub(crate) mod ") && **line > *lines;
            let neighbours = before.split_inclusive('\n').rev();
            let is_module = lines.starts_with("pub(crate) mod ");
            let pushed: usize = neighbours.take_while(|line| is_module && later(line)).map(str::len).sum();
            let (before, pushed) = before.split_at_checked(before.len() - pushed).unwrap_or((before, ""));
            format!("{before}{lines}{pushed}{after}")
        });
        Ok(Edit { path: path.to_owned(), file: self.0.join(path), lines, changed })
    }

    fn at_end(&self, path: &str, lines: &str) -> Result<Edit, Trouble> {
        let text = self.read(path)?;
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let changed = Some(format!("{text}{gap}{lines}"));
        Ok(Edit { path: path.to_owned(), file: self.0.join(path), lines: lines.to_owned(), changed })
    }

    fn read(&self, path: &str) -> Result<String, Trouble> {
        let file = self.0.join(path);
        std::fs::read_to_string(&file).map_err(|error| {
            Trouble::failed(format!("cannot read {}: {error}; nothing was written", file.display()))
        })
    }
}

/// What stands before a file's marked line, how far in that line is, and the rest from it on.
fn marked(text: &str) -> Option<(&str, &str, &str)> {
    let mut before = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_start();
        if content.starts_with(MARK) {
            let (above, rest) = text.split_at_checked(before)?;
            let (indent, _) = line.split_at_checked(line.len() - content.len())?;
            return Some((above, indent, rest));
        }
        before += line.len();
    }
    None
}

/// Lines as far in as their neighbours; those that are further in already stay.
fn indented(lines: &str, indent: &str) -> String {
    let line = |line: &str| if line.starts_with(' ') { line.to_owned() } else { format!("{indent}{line}") };
    lines.split_inclusive('\n').map(line).collect()
}

/// A change of a file.
struct Edit {
    path: String,
    file: PathBuf,
    lines: String,
    /// The file as it becomes; none if the line that says where is gone.
    changed: Option<String>,
}

/// Makes the changes, and says what was made, what was changed and what is left to do.
fn told(files: &NewFiles, edits: &[Edit], next: &str) -> Result<String, Trouble> {
    let mut text = String::new();
    // Writing to a String cannot fail, here and below.
    for path in files.paths() {
        let _ = writeln!(text, "made     {}", path.display());
    }
    let mut by_hand = String::new();
    for edit in edits {
        match &edit.changed {
            Some(changed) => {
                files::replace(&edit.file, changed)?;
                let _ = writeln!(text, "changed  {}", edit.path);
            }
            None => {
                let _ = write!(
                    by_hand,
                    "\n{} has no line that begins with `{MARK}`; add by hand:\n{}",
                    edit.path,
                    indented(&edit.lines, "    ")
                );
            }
        }
    }
    Ok(text + &by_hand + next)
}
