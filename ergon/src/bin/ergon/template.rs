//! Lists the files of the templates, and fills in names.

use super::name::Name;

/// The path and the text of a file.
pub(crate) type Row = (&'static str, &'static str);

/// A row for a file of a template: `row!("project", "src/main.rs")`.
macro_rules! row {
    ($template:literal, $path:literal) => {
        ($path, include_str!(concat!("template/", $template, "/", $path)))
    };
}

/// The files of a project, without `_observability`. Some have other names in this repository, because tools would read
/// them there.
pub(crate) const PROJECT: &[Row] = &[
    ("Cargo.toml", include_str!("template/project/Cargo.toml.template")),
    (".gitignore", include_str!("template/project/gitignore")),
    (".dockerignore", include_str!("template/project/dockerignore")),
    (".env.example", include_str!("template/project/env.example")),
    row!("project", "Dockerfile"),
    row!("project", "README.md"),
    row!("project", "ergon.toml"),
    row!("project", "data/orders.jsonl"),
    row!("project", "src/main.rs"),
    row!("project", "src/settings.rs"),
    row!("project", "src/connectors/mod.rs"),
    row!("project", "src/services/mod.rs"),
    row!("project", "src/tasks/mod.rs"),
    row!("project", "src/tasks/constants.rs"),
    row!("project", "src/tasks/errors.rs"),
    row!("project", "src/tasks/helpers.rs"),
    row!("project", "src/tasks/schemas.rs"),
    row!("project", "src/tasks/example_task/mod.rs"),
    row!("project", "src/tasks/example_task/config.rs"),
    row!("project", "src/tasks/example_task/errors.rs"),
    row!("project", "src/tasks/example_task/helpers.rs"),
    row!("project", "src/tasks/example_task/schemas.rs"),
    row!("project", "src/tasks/example_task/task.rs"),
    row!("project", "tests/example_task.rs"),
];

/// The files of a task, in its folder.
pub(crate) const TASK: &[Row] = &[
    row!("task", "mod.rs"),
    row!("task", "config.rs"),
    row!("task", "errors.rs"),
    row!("task", "helpers.rs"),
    row!("task", "schemas.rs"),
    row!("task", "task.rs"),
];

/// The settings that a task adds to a project, and its sample data.
pub(crate) const TASK_SETTINGS: &str = include_str!("template/task/settings.rs");
pub(crate) const TASK_TABLES: &str = include_str!("template/task/ergon.toml");
pub(crate) const TASK_SAMPLE: &str = include_str!("template/task/sample.jsonl");

/// The files of a connector, in its folder.
pub(crate) const CONNECTOR: &[Row] = &[
    row!("connector", "mod.rs"),
    row!("connector", "connector.rs"),
    row!("connector", "errors.rs"),
    row!("connector", "schemas.rs"),
    row!("connector", "service.rs"),
];

/// The files of a service, in its folder.
pub(crate) const SERVICE: &[Row] = &[
    row!("service", "mod.rs"),
    row!("service", "client.rs"),
    row!("service", "errors.rs"),
    row!("service", "schemas.rs"),
    row!("service", "service.rs"),
];

/// Fills in the name of a project and its dependency on `ergon`.
pub(crate) fn of_project(text: &str, name: &str, dependency: &str) -> String {
    text.replace("{{dependency}}", dependency).replace("{{name}}", name)
}

/// Fills in the name of a part of a project.
pub(crate) fn of_part(text: &str, name: &Name) -> String {
    text.replace("{{module}}", &name.module)
        .replace("{{type}}", &name.camel)
        .replace("{{task}}", &name.kebab)
        .replace("{{title}}", &name.title)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::observability;

    fn files(folder: &Path) -> usize {
        let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
    }

    #[test]
    fn each_file_of_a_template_is_written() {
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/ergon/template");
        assert!(!observability::FILES.is_empty());
        let apart = files(&template.join("project/_observability"));
        let rows = PROJECT.len() + TASK.len() + CONNECTOR.len() + SERVICE.len();
        let task_settings_tables_and_sample = 3;
        assert_eq!(files(&template) - apart, rows + task_settings_tables_and_sample);
    }

    #[test]
    fn no_placeholder_is_left() {
        let name = Name::new("price-orders", "task").unwrap();
        let parts = TASK.iter().chain(CONNECTOR).chain(SERVICE).map(|(_, text)| of_part(text, &name));
        let own = [TASK_SETTINGS, TASK_TABLES, TASK_SAMPLE].map(|text| of_part(text, &name));
        let project = PROJECT.iter().map(|(_, text)| of_project(text, "my-app", "ergon = \"1\""));
        for text in parts.chain(own).chain(project) {
            assert!(!text.contains("{{"), "{text}");
        }
    }

    /// The crates that the code of a page names, at the beginning of a path.
    fn crates(page: &str) -> Vec<String> {
        let blocks = page.split("\n```").skip(1).step_by(2).filter(|block| block.starts_with("rust"));
        let inline = page.split('`').skip(1).step_by(2);
        let starts = blocks.flat_map(str::lines).filter_map(|line| line.trim_start().strip_prefix("use "));
        let starts = starts.chain(inline.filter(|code| code.starts_with("tracing::")));
        let named = starts.filter_map(|path| path.split_once("::")).map(|(name, _)| name.to_owned());
        named.filter(|name| !["std", "super", "ergon", "crate"].contains(&name.as_str())).collect()
    }

    #[test]
    fn a_project_has_every_library_that_the_guide_uses() {
        let (_, manifest) = PROJECT.iter().find(|(path, _)| *path == "Cargo.toml").unwrap();
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let mut used = Vec::new();
        for page in ["tasks", "language", "migrating", "policies", "errors", "settings"] {
            used.extend(crates(&std::fs::read_to_string(docs.join(page).with_extension("md")).unwrap()));
        }
        assert!(used.iter().any(|name| name == "tracing"), "{used:?}");
        for name in used {
            let line = format!("\n{} = ", name.replace('_', "-"));
            assert!(manifest.contains(&line), "{name} is no dependency of a new project");
        }
    }
}
