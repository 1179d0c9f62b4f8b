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
const NOT_KEYS: [&str; 2] = ["ERGON_CONFIG", "ERGON_LOG"];

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
    let (file, searched) = find_file(options, &process).map_err(|problem| vec![problem])?;
    let mut tree = match &file {
        Some(file) => Node::parse(file).map_err(|problem| vec![problem])?,
        None => Node::table(Origin::Nowhere),
    };
    let mut variables =
        match find_dotenv(options, &process, file.as_ref()).map_err(|problem| vec![problem])? {
            Some(dotenv) => dotenv::parse(&dotenv).map_err(|problem| vec![problem])?,
            None => Vec::new(),
        };
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
    variables.iter().find(|setting| setting.name == name && !setting.text.is_empty())
}

/// The settings file: the one that is named, else the first that is there.
fn find_file(
    options: &Options,
    process: &[Setting],
) -> Result<(Option<Arc<SourceFile>>, Vec<String>), Problem> {
    if let Some(config) = &options.config {
        let place = Origin::Flag(format!("--config {}", config.display()));
        return read_file(&options.working_folder.join(config), &place).map(|file| (Some(file), Vec::new()));
    }
    if let Some(config) = named(process, "ERGON_CONFIG") {
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

/// The file of variables: the one that `ENV_FILE` names, else `.env` in the working folder or beside the settings.
fn find_dotenv(
    options: &Options,
    process: &[Setting],
    file: Option<&Arc<SourceFile>>,
) -> Result<Option<Arc<SourceFile>>, Problem> {
    if let Some(name) = named(process, "ENV_FILE") {
        return read_file(&options.working_folder.join(&name.text), &name.origin).map(Some);
    }
    let folders = [Some(options.working_folder.clone()), file.map(|file| file.folder.clone())];
    let mut paths = folders.into_iter().flatten().map(|folder| folder.join(".env"));
    match paths.find(|path| path.is_file()) {
        Some(path) => read_file(&path, &Origin::Flag(path.display().to_string())).map(Some),
        None => Ok(None),
    }
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
