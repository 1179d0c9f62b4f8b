//! Where settings are read from: `ergon.toml`, then `.env`, then the process environment; the later wins.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dotenv;
use super::problem::Problem;
use super::tree::{Node, Origin, SourceFile, Value, Variable};

/// The name of the settings file.
const FILE: &str = "ergon.toml";
/// The beginning of the name of a variable that sets a key.
const PREFIX: &str = "ERGON_";
/// What stands between the keys in such a name.
const SEPARATOR: &str = "__";
/// Variables with the prefix that are no keys.
const NOT_KEYS: [&str; 2] = [CONFIG, "ERGON_LOG"];
/// The variable that names the settings file.
const CONFIG: &str = "ERGON_CONFIG";

/// Where to look.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// The file that `--config` names.
    pub(crate) config: Option<PathBuf>,
    /// The working folder; empty for that of the process.
    pub(crate) working_folder: PathBuf,
    /// The package's own folder, when cargo runs the program.
    pub(crate) package_folder: Option<PathBuf>,
    /// The process environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
}

impl Options {
    /// Looks where this process is; `manifest_dir` is the package's folder when it was compiled.
    pub(crate) fn of_process(config: Option<PathBuf>, manifest_dir: &str) -> Self {
        // Outside of cargo the folder may be another's by now, or gone.
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

/// A variable that was read, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Sources {
    /// All of it, merged.
    pub(super) tree: Node,
    /// The variables of `.env`, then those of the process.
    pub(super) variables: Vec<Setting>,
    /// The files that were looked for in vain.
    pub(super) searched: Vec<String>,
}

/// Reads all sources.
pub(super) fn gather(options: &Options) -> Result<Sources, Vec<Problem>> {
    let process = process_variables(&options.environment)?;
    let one = |problem| vec![problem];
    let working_folder = Some(options.working_folder.as_path());
    let mut variables = read_dotenv(options, &process, working_folder).map_err(one)?;
    let named = named(&process, CONFIG).or_else(|| named(variables.as_deref()?, CONFIG));
    let (file, searched) = find_file(options, named).map_err(one)?;
    if variables.is_none() {
        let beside = file.as_ref().map(|file| file.folder.as_path());
        variables = read_dotenv(options, &process, beside).map_err(one)?;
    }
    let mut tree = match &file {
        Some(file) => Node::parse(file).map_err(one)?,
        None => Node::table(Origin::Nowhere),
    };
    let mut variables = variables.unwrap_or_default();
    variables.extend(process);
    let problems = set_all(&mut tree, &variables);
    if problems.is_empty() { Ok(Sources { tree, variables, searched }) } else { Err(problems) }
}

/// Puts every variable that names a key into the tree; shorter names first, so that `ERGON_A__B` lands in `ERGON_A`.
fn set_all(tree: &mut Node, variables: &[Setting]) -> Vec<Problem> {
    let mut keyed: Vec<(Vec<&str>, &Setting)> = variables
        .iter()
        .filter(|setting| !NOT_KEYS.contains(&setting.name.as_str()))
        .filter_map(|setting| Some((setting.name.strip_prefix(PREFIX)?.split(SEPARATOR).collect(), setting)))
        .filter(|(keys, _): &(Vec<&str>, _)| keys.iter().all(|key| !key.is_empty()))
        .collect();
    keyed.sort_by_key(|(keys, _)| keys.len());
    let set = |(keys, setting): (Vec<&str>, &Setting)| tree.set(&keys, &setting.text, &setting.origin).err();
    keyed.into_iter().filter_map(set).collect()
}

/// The variables of the process; those that are not ours need not be text.
fn process_variables(environment: &[(OsString, OsString)]) -> Result<Vec<Setting>, Vec<Problem>> {
    let mut settings = Vec::new();
    let mut problems = Vec::new();
    for (name, value) in environment {
        let Some(name) = name.to_str().map(str::to_owned) else { continue };
        let variable = Variable { name: name.clone(), value: value.to_str().unwrap_or_default().to_owned() };
        let origin = Origin::Variable(Arc::new(variable));
        match value.to_str() {
            Some(text) => settings.push(Setting { name, text: text.to_owned(), origin }),
            None if name.starts_with(PREFIX) => {
                problems.push(Problem::new(origin, "", "this is not UTF-8 text"));
            }
            None => {}
        }
    }
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

fn named<'v>(variables: &'v [Setting], name: &str) -> Option<&'v Setting> {
    variables.iter().rfind(|setting| setting.name == name && !setting.text.is_empty())
}

/// The settings file: the one that the command line or a variable names, else the first that is there.
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

/// What the file of variables says: the one that `ENV_FILE` names, else `.env` in this folder; none if there is none.
fn read_dotenv(
    options: &Options,
    process: &[Setting],
    folder: Option<&Path>,
) -> Result<Option<Vec<Setting>>, Problem> {
    let file = match (named(process, "ENV_FILE"), folder.map(|folder| folder.join(".env"))) {
        (Some(name), _) => read_file(&options.working_folder.join(&name.text), &name.origin)?,
        (None, Some(path)) if path.is_file() => read_file(&path, &Origin::Flag(path.display().to_string()))?,
        _ => return Ok(None),
    };
    dotenv::parse(&file).map(Some)
}

/// Reads a file; `place` is who named it.
fn read_file(path: &Path, place: &Origin) -> Result<Arc<SourceFile>, Problem> {
    match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => {
            let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
            Ok(SourceFile::new(path, text))
        }
        Ok(Err(_)) => Err(Problem::new(place.clone(), "", "this file is not UTF-8 text")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let problem = Problem::new(place.clone(), "", "there is no such file");
            Err(problem.with_hint(format!("note: looked for {}", shown(path))))
        }
        Err(error) => Err(Problem::new(place.clone(), "", format!("this file cannot be read: {error}"))),
    }
}

/// The whole path, as the operating system sees it.
fn shown(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string()
}

/// Says whether the environment asks for text without colour.
pub(crate) fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

impl Sources {
    /// Removes what the framework owns from the tree.
    pub(super) fn take(&mut self, key: &str) -> Node {
        self.tree.take(key).unwrap_or_else(|| Node::new(Value::Table(Vec::new()), Origin::Nowhere))
    }
}
