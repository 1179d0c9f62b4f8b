//! Reads the sources of settings: `ergon.toml`, then `.env`, then the process environment. A later source wins.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::origin::{Origin, SourceFile, Variable};
use super::problem::Problem;
use super::setting::Setting;
use super::tree::{Node, Value};
use super::{dotenv, suggest};

/// The name of the settings file.
const FILE: &str = "ergon.toml";
/// The prefix of variables that set keys.
const PREFIX: &str = "ERGON_";
/// The separator of the keys in such a name.
const SEPARATOR: &str = "__";
/// Variables with the prefix that are not keys.
const NOT_KEYS: [&str; 2] = [CONFIG, LOG];
/// The variable that names the settings file.
const CONFIG: &str = "ERGON_CONFIG";
/// The variable with the directives for log lines.
const LOG: &str = "ERGON_LOG";

/// The places of the sources.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// The file that `--config` names.
    pub(crate) config: Option<PathBuf>,
    /// The working folder; empty for the working folder of the process.
    pub(crate) working_folder: PathBuf,
    /// The folder of the package, if cargo runs the program.
    pub(crate) package_folder: Option<PathBuf>,
    /// The process environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
}

impl Options {
    /// The places for this process; `manifest_dir` is the folder of the package when it was compiled.
    pub(crate) fn of_process(config: Option<PathBuf>, manifest_dir: &str) -> Self {
        // Without cargo, the folder may no longer exist or belong to another package.
        let by_cargo = std::env::var_os("CARGO_MANIFEST_DIR").is_some() && Path::new(manifest_dir).is_dir();
        let package_folder = by_cargo.then(|| {
            let here = std::env::current_dir().unwrap_or_default();
            let folder = Path::new(manifest_dir);
            folder.strip_prefix(here).unwrap_or(folder).to_path_buf()
        });
        let environment = std::env::vars_os().collect();
        Self { config, working_folder: PathBuf::new(), package_folder, environment }
    }
}

/// The contents of the sources.
#[derive(Debug)]
pub(super) struct Sources {
    /// All settings, merged.
    pub(super) tree: Node,
    /// The variables of `.env`, then those of the process.
    pub(super) variables: Vec<Setting>,
    /// The searched files that do not exist.
    pub(super) searched: Vec<String>,
    /// Warnings about ignored parts of the variables.
    pub(super) ignored: Vec<String>,
}

/// Reads all sources.
pub(super) fn gather(options: &Options) -> Result<Sources, Vec<Problem>> {
    let process = process_variables(&options.environment);
    let one = |problem| vec![problem];
    let mut ignored = Vec::new();
    let working_folder = Some(options.working_folder.as_path());
    let mut variables = read_dotenv(options, &process, (working_folder, &mut ignored)).map_err(one)?;
    let by_variable = || match (named(&process, CONFIG)?, &variables) {
        (None, Some(variables)) => named(variables, CONFIG),
        (by_process, _) => Ok(by_process),
    };
    let by_variable = if options.config.is_some() { None } else { by_variable().map_err(one)? };
    let (file, searched) = find_file(options, by_variable).map_err(one)?;
    if variables.is_none() {
        let folder = file.as_ref().map(|file| file.folder.as_path());
        variables = read_dotenv(options, &process, (folder, &mut ignored)).map_err(one)?;
    }
    let mut tree = match &file {
        Some(file) => Node::parse(file).map_err(one)?,
        None => Node::table(Origin::Nowhere),
    };
    let mut variables = variables.unwrap_or_default();
    variables.extend(process);
    let mut problems = set_all(&mut tree, &variables);
    problems.extend(named(&variables, LOG).err());
    if problems.is_empty() { Ok(Sources { tree, variables, searched, ignored }) } else { Err(problems) }
}

/// Sets every variable with a key in the tree. Shorter names come first, so that `ERGON_A__B` is set within `ERGON_A`.
fn set_all(tree: &mut Node, variables: &[Setting]) -> Vec<Problem> {
    let mut keyed: Vec<(Vec<&str>, &Setting)> =
        variables.iter().filter_map(|setting| Some((keys_of(&setting.name)?, setting))).collect();
    keyed.sort_by_key(|(keys, _)| keys.len());
    let set = |(keys, setting): (Vec<&str>, &Setting)| tree.set(&keys, setting).err();
    keyed.into_iter().filter_map(set).collect()
}

/// The path of keys that a variable sets; `None` if it sets none.
pub(super) fn keys_of(name: &str) -> Option<Vec<&str>> {
    let keys: Vec<&str> = name.strip_prefix(PREFIX)?.split(SEPARATOR).collect();
    (!NOT_KEYS.contains(&name) && keys.iter().all(|key| !key.is_empty())).then_some(keys)
}

/// The variable that sets the key under this path.
pub(super) fn variable_of<'k>(keys: impl IntoIterator<Item = &'k str>) -> String {
    let keys: Vec<String> = keys.into_iter().map(|key| key.to_uppercase().replace('-', "_")).collect();
    format!("{PREFIX}{}", keys.join(SEPARATOR))
}

/// The variables of the process. A variable that is not text is unreadable.
fn process_variables(environment: &[(OsString, OsString)]) -> Vec<Setting> {
    let of_text = |(name, value): &(OsString, OsString)| {
        let name = name.to_str()?;
        let origin = Origin::Variable(Arc::new(Variable { name: name.to_owned() }));
        Some(match value.to_str() {
            Some(text) => Setting::new(name, text.to_owned(), origin),
            None => {
                let problem = Problem::new(origin.clone(), "", "this is not UTF-8 text");
                Setting::unreadable(name, origin, problem)
            }
        })
    };
    environment.iter().filter_map(of_text).collect()
}

/// The variable of this name, if it is not empty.
fn named<'v>(variables: &'v [Setting], name: &str) -> Result<Option<&'v Setting>, Problem> {
    match variables.iter().rfind(|setting| setting.name == name) {
        Some(Setting { problem: Some(problem), .. }) => Err((**problem).clone()),
        found => Ok(found.filter(|setting| !setting.text.is_empty())),
    }
}

/// The settings file: the one that the command line or a variable names, else the first that exists.
fn find_file(
    options: &Options,
    variable: Option<&Setting>,
) -> Result<(Option<Arc<SourceFile>>, Vec<String>), Problem> {
    if let Some(config) = &options.config {
        let place = Origin::Flag(format!("--config {}", config.display()));
        return read_file(&options.working_folder.join(config), &place).map(|file| (Some(file), Vec::new()));
    }
    if let Some(config) = variable {
        let path = options.working_folder.join(&config.text);
        return read_file(&path, &config.origin).map(|file| (Some(file), Vec::new()));
    }
    let folders = [Some(&options.working_folder), options.package_folder.as_ref()];
    let mut searched: Vec<String> = Vec::new();
    for path in folders.into_iter().flatten().map(|folder| folder.join(FILE)) {
        if path.exists() {
            let place = Origin::Flag(path.display().to_string());
            return read_file(&path, &place).map(|file| (Some(file), searched));
        }
        let name = path.display().to_string();
        if !searched.contains(&name) {
            searched.push(name);
        }
    }
    Ok((None, searched))
}

/// The variables of the file that `ENV_FILE` names, else of `.env` in this folder; none if there is no such file.
fn read_dotenv(
    options: &Options,
    process: &[Setting],
    (folder, ignored): (Option<&Path>, &mut Vec<String>),
) -> Result<Option<Vec<Setting>>, Problem> {
    let (path, place) = match (named(process, "ENV_FILE")?, folder.map(|folder| folder.join(".env"))) {
        (Some(name), _) => (options.working_folder.join(&name.text), name.origin.clone()),
        (None, Some(path)) if path.is_file() => {
            let place = Origin::Flag(path.display().to_string());
            (path, place)
        }
        _ => return Ok(None),
    };
    let bytes = read_bytes(&path, &place)?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let problem = Problem::new(place, "", "this file is UTF-16 text");
        return Err(problem.with_hint("hint: save it as UTF-8"));
    }
    // In a file with invalid UTF-8, only the values with invalid bytes are unreadable.
    let damaged = std::str::from_utf8(&bytes).is_err();
    let text = String::from_utf8_lossy(&bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
    let file = SourceFile::variables(&path, text, damaged);
    let dotenv::Variables { settings, nameless } = dotenv::parse(&file, process);
    if let Some(lines) = numbered(&nameless) {
        ignored.push(format!("{}: {lines} ignored: expected NAME=value", file.name));
    }
    Ok(Some(settings))
}

/// `line 2 is`, `lines 2, 5 and 7 are`
fn numbered(lines: &[usize]) -> Option<String> {
    let all: Vec<String> = lines.iter().map(ToString::to_string).collect();
    match all.as_slice() {
        [] => None,
        [only] => Some(format!("line {only} is")),
        all => Some(format!("lines {} are", suggest::list(all, "and"))),
    }
}

/// Reads a settings file; `place` is the origin of its path.
fn read_file(path: &Path, place: &Origin) -> Result<Arc<SourceFile>, Problem> {
    match String::from_utf8(read_bytes(path, place)?) {
        Ok(text) => {
            let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
            Ok(SourceFile::settings(path, text))
        }
        Err(_) => Err(Problem::new(place.clone(), "", "this file is not UTF-8 text")),
    }
}

fn read_bytes(path: &Path, place: &Origin) -> Result<Vec<u8>, Problem> {
    std::fs::read(path).map_err(|error| {
        if error.kind() != std::io::ErrorKind::NotFound {
            return Problem::new(place.clone(), "", format!("this file cannot be read: {error}"));
        }
        let problem = Problem::new(place.clone(), "", "there is no such file");
        // The value of a variable is never shown, not even a path.
        problem.with_hint(if place.is_private() {
            "hint: a relative path is relative to the working folder".to_owned()
        } else {
            format!("note: looked for {}", shown(path))
        })
    })
}

/// The absolute path.
fn shown(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string()
}

/// Returns whether the environment asks for output without colour.
pub(crate) fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

impl Sources {
    /// Removes a table of the framework from the tree.
    pub(super) fn take(&mut self, key: &str) -> Node {
        self.tree.take(key).unwrap_or_else(|| Node::new(Value::Table(Vec::new()), Origin::Nowhere))
    }
}
