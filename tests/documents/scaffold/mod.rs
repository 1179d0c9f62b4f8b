//! Tests `ergon new` and `ergon generate`: builds, lints, runs and tests their output, as a user would.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use toml::Table;

/// A Git repository as the source of `ergon`. It is not fetched, because this project is not built.
const GIT: &str = "https://example.com/ergon.git";

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Runs `ergon` in a folder.
fn ergon(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ergon_program"));
    command.args(arguments).current_dir(folder).output().unwrap()
}

/// Makes `my-app` in a folder, with `ergon` from this repository. Returns the project's folder.
fn made(folder: &Path) -> PathBuf {
    called("my-app", folder)
}

/// The same under another name, because projects that are built at the same time must not have the same name.
fn called(name: &str, folder: &Path) -> PathBuf {
    let path = root().join("ergon").display().to_string();
    let made = ergon(folder, &["new", name, "--ergon-path", &path]);
    assert!(made.status.success(), "{}", stderr(&made));
    folder.join(name)
}

/// Adds a project to a workspace whose libraries these tests have already built: with the same versions, at the same
/// places below its root, and with the same features. Only the project itself is left to build.
fn share_what_is_built(project: &Path) {
    let workspace = project.parent().unwrap();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut members = vec![name(project)];
    for package in root().read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        if name(&package).starts_with("ergon") {
            let link = workspace.join(name(&package));
            if !link.exists() {
                std::os::unix::fs::symlink(&package, link).unwrap();
            }
            members.push(name(&package));
        }
    }
    std::fs::copy(root().join("Cargo.lock"), workspace.join("Cargo.lock")).unwrap();
    let mut manifest = manifest(&root());
    manifest["workspace"]["members"] = members.into();
    manifest["workspace"].as_table_mut().unwrap().remove("default-members");
    std::fs::write(workspace.join("Cargo.toml"), manifest.to_string()).unwrap();

    let mut manifest = self::manifest(project);
    manifest.retain(|table, _| !["profile", "workspace"].contains(&table));
    let built = self::manifest(Path::new(env!("CARGO_MANIFEST_DIR")));
    let dependencies = manifest["dependencies"].as_table_mut().unwrap();
    dependencies.extend(built["dependencies"].as_table().unwrap().clone());
    std::fs::write(project.join("Cargo.toml"), manifest.to_string()).unwrap();
}

fn manifest(folder: &Path) -> Table {
    std::fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap()
}

/// Runs cargo in a project, and returns its output.
fn cargo(project: &Path, arguments: &[&str]) -> String {
    succeeds(&cargo_as_it_ends(project, arguments), arguments)
}

fn succeeds(output: &Output, arguments: &[&str]) -> String {
    assert!(output.status.success(), "cargo {arguments:?}\n{}\n{}", stdout(output), stderr(output));
    format!("{}{}", stdout(output), stderr(output))
}

/// The same, whether it succeeds or not.
fn cargo_as_it_ends(project: &Path, arguments: &[&str]) -> Output {
    command(project, arguments).output().unwrap()
}

fn command(project: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).current_dir(project).env("CARGO_TARGET_DIR", target());
    command.env("CARGO_NET_OFFLINE", "true");
    forget(&mut command);
    command
}

/// Runs cargo in a project, and lints what it builds as `cargo clippy -- -D warnings` does. That command would check
/// all libraries first, although they are already built.
fn linted(project: &Path, arguments: &[&str]) -> String {
    let mut command = command(project, arguments);
    command.env("RUSTC_WRAPPER", "clippy-driver");
    command.env("CLIPPY_ARGS", ["--no-deps", "-Dwarnings", ""].join("__CLIPPY_HACKERY__"));
    succeeds(&command.output().unwrap(), arguments)
}

/// Removes the variables of Ergon, and the variables that cargo sets for this package. A library whose build depends on
/// the variables of cargo would be built again, for the project and then for everything else.
fn forget(command: &mut Command) {
    const OF_PACKAGE: [&str; 5] = ["CARGO_BIN_EXE_", "CARGO_MANIFEST_", "CARGO_PKG_", "ERGON", "OUT_DIR"];
    let told = std::env::vars().filter(|(name, _)| OF_PACKAGE.iter().any(|of| name.starts_with(of)));
    for (name, _) in told {
        command.env_remove(name);
    }
}

/// The target folder of all builds.
fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// All files below a folder, by their paths in it, in order.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in next.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap().lines().count()
}

#[test]
fn a_new_project_builds_runs_and_passes_its_tests_and_so_does_what_is_generated() {
    let folder = TempDir::new().unwrap();
    let project = called("order-app", folder.path());
    share_what_is_built(&project);

    let said = cargo(&project, &["run", "--", "run", "example-task"]);
    for part in ["5 transactions processed", "4 succeeded", "1 was rejected and dead-lettered."] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(lines(&project.join("out/receipts.jsonl")), 4);
    let said = cargo(&project, &["test"]);
    assert!(said.contains("every_sample_order_becomes_a_receipt_or_is_refused ... ok"), "{said}");

    let task = project.join("src/tasks/example_task/task.rs");
    let right = std::fs::read_to_string(&task).unwrap();
    let forgotten = right.replacen(
        "dispatch(order.derive(receipt)?).await",
        "dispatch(order.derive(receipt)?);\n        Ok(())",
        1,
    );
    assert_ne!(forgotten, right);
    std::fs::write(&task, forgotten).unwrap();
    let said = stderr(&cargo_as_it_ends(&project, &["build"]));
    assert!(said.contains("error: unused `Dispatch` that must be used"), "{said}");
    std::fs::write(&task, right).unwrap();

    for what in [
        ["generate", "task", "price-orders"],
        ["generate", "task", "bill"],
        ["generate", "connector", "acme-api"],
        ["generate", "connector", "odd-jobs"],
        ["generate", "connector", "zebra"],
        ["generate", "service", "crm"],
        ["generate", "service", "geo-codes"],
    ] {
        let output = ergon(&project.join("src"), &what);
        assert!(output.status.success(), "{what:?}: {}", stderr(&output));
    }
    cargo(&project, &["fmt", "--check"]);
    write_the_calls_of(&project.join("src/connectors/acme_api"));
    std::fs::write(project.join("tests/producer.rs"), a_producer_of_the_guide()).unwrap();
    let said = linted(&project, &["test"]);
    for task in ["price_orders", "bill"] {
        let test = format!("{task}::task::tests::what_is_good_goes_out_and_what_is_not_is_refused ... ok");
        assert!(said.contains(&test), "{said}");
    }
    for test in ["acme_api::rules::a_generated_connector_keeps_the_rules", "producer_compiles"] {
        assert!(said.contains(&format!("{test} ... ok")), "{test}: {said}");
    }
    let said = linted(&project, &["run", "--", "run", "price-orders"]);
    assert!(
        said.contains("price-orders: 3 transactions processed") && said.contains("and dead-lettered."),
        "{said}"
    );
    assert_eq!(lines(&project.join("out/price_orders.jsonl")), 2);
}

/// Replaces the calls that a project writes with calls to lists in this process, and tests the rules of a connector.
fn write_the_calls_of(connector: &Path) {
    let from = root().join("tests/documents/scaffold");
    std::fs::copy(from.join("acme_service.rs"), connector.join("service.rs")).unwrap();
    std::fs::copy(from.join("acme_rules.rs"), connector.join("rules.rs")).unwrap();
    let module = std::fs::read_to_string(connector.join("mod.rs")).unwrap();
    std::fs::write(connector.join("mod.rs"), module + "\n#[cfg(test)]\nmod rules;\n").unwrap();
}

/// The producer of the reference, which logs as the page on migrating says.
fn a_producer_of_the_guide() -> String {
    let page = std::fs::read_to_string(root().join("docs/language.md")).unwrap();
    let (_, rest) = page.split_once("### A producer").unwrap();
    let (_, block) = rest.split_once("```rust\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    format!("{block}\n#[test]\nfn producer_compiles() {{\n    tracing::info!(\"it does\");\n}}\n")
}

#[test]
fn the_layout_is_the_one_that_is_documented() {
    let folder = TempDir::new().unwrap();
    let found = files(&made(folder.path()));
    let of_task = ["config", "errors", "helpers", "mod", "schemas", "task"];
    let of_tasks = ["constants", "errors", "helpers", "mod", "schemas"];
    let tasks = of_task.map(|file| format!("src/tasks/example_task/{file}.rs"));
    let shared = of_tasks.map(|file| format!("src/tasks/{file}.rs"));
    let others = [
        ".dockerignore",
        ".env.example",
        ".gitignore",
        "Cargo.toml",
        "Dockerfile",
        "README.md",
        "data/orders.jsonl",
        "ergon.toml",
        "src/connectors/mod.rs",
        "src/main.rs",
        "src/services/mod.rs",
        "src/settings.rs",
        "tests/example_task.rs",
    ];
    for file in tasks.iter().chain(&shared).map(String::as_str).chain(others) {
        assert!(found.iter().any(|found| found == file), "{file} is missing: {found:#?}");
    }
    assert!(found.iter().any(|found| found.starts_with("_observability/")), "{found:#?}");
}

#[test]
fn what_is_there_is_never_overwritten() {
    let folder = TempDir::new().unwrap();
    let project = folder.path().join("my-app");
    std::fs::create_dir_all(project.join("src")).unwrap();
    std::fs::write(project.join("src/main.rs"), "mine").unwrap();
    std::fs::write(project.join("data"), "a file where a folder would be").unwrap();
    let output = ergon(folder.path(), &["new", "my-app", "--ergon-git", GIT]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "error: my-app already has these files; nothing was written\n  data/orders.jsonl\n  src/main.rs\n \
         = hint: move them away, or name another folder\n"
    );
    assert_eq!(files(&project), ["data", "src/main.rs"]);
    assert_eq!(std::fs::read_to_string(project.join("src/main.rs")).unwrap(), "mine");
}

#[test]
fn a_second_project_in_the_same_place_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let project = made(folder.path());
    let before = files(&project);
    std::fs::write(project.join("ergon.toml"), "# mine\n").unwrap();
    assert_eq!(ergon(folder.path(), &["init", "my-app", "--ergon-git", GIT]).status.code(), Some(1));
    assert_eq!(files(&project), before);
    assert_eq!(std::fs::read_to_string(project.join("ergon.toml")).unwrap(), "# mine\n");
}

#[test]
fn the_present_folder_gives_its_name() {
    let folder = TempDir::new().unwrap();
    let present = folder.path().join("order-flow");
    std::fs::create_dir(&present).unwrap();
    std::fs::write(present.join("notes.txt"), "mine").unwrap();
    let output = ergon(&present, &["bootstrap", ".", "--ergon-git", GIT]);
    assert!(output.status.success(), "{}", stderr(&output));
    let manifest = std::fs::read_to_string(present.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("name = \"order-flow\""), "{manifest}");
    let from = format!("ergon = {{ git = {GIT:?}, features = [\"cli\", \"health\", \"opentelemetry\"] }}");
    assert!(manifest.contains(&from), "{manifest}");
    assert!(present.join("notes.txt").exists());
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("notes"), "a file").unwrap();
    for place in ["notes", "notes/app"] {
        let output = ergon(folder.path(), &["new", "my-app", place, "--ergon-git", GIT]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).starts_with("error: "), "{}", stderr(&output));
        assert!(stderr(&output).contains("notes"), "{}", stderr(&output));
    }
    assert_eq!(files(folder.path()), ["notes"]);
}

#[test]
fn a_bad_name_is_refused_with_the_reason_before_anything_is_written() {
    let folder = TempDir::new().unwrap();
    for name in ["self", "test", "crate", "1abc", "größe", "日本", "My App", "a/b", "", ".."] {
        let output = ergon(folder.path(), &["new", name]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        let refused = format!("error: `{name}` cannot be the name of a project: ");
        assert!(stderr(&output).starts_with(&refused), "{}", stderr(&output));
    }
    assert!(files(folder.path()).is_empty());
    let project = made(folder.path());
    let before = files(&project);
    for name in ["fn", "fn-", "9", "Ö"] {
        let output = ergon(&project, &["generate", "task", name]);
        assert_eq!(output.status.code(), Some(2), "{name}");
    }
    // Names that already are a module or a type of the project or of the generated part.
    for (what, names) in [
        (
            "task",
            "constants errors helpers schemas config task settings consumer transaction incoming script",
        ),
        ("connector", "connector errors schemas service record sink source tasks transaction"),
        ("service", "client errors schemas service runner telemetry"),
    ] {
        for name in names.split(' ') {
            let output = ergon(&project, &["generate", what, name]);
            assert_eq!(output.status.code(), Some(2), "{what} {name}");
            let refused = format!("error: `{name}` cannot be the name of a {what}: ");
            assert!(stderr(&output).starts_with(&refused), "{}", stderr(&output));
            assert!(stderr(&output).contains(&format!("call it `{name}-")), "{}", stderr(&output));
        }
    }
    assert_eq!(files(&project), before);
}

#[test]
fn a_project_that_could_not_be_built_is_not_made() {
    let folder = TempDir::new().unwrap();
    let output = ergon(folder.path(), &["new", "my-app"]);
    assert_eq!(output.status.code(), Some(2));
    for part in ["in no registry yet", "`--ergon-path FOLDER`", "`--ergon-git URL`"] {
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    assert!(files(folder.path()).is_empty());
}

#[test]
fn a_path_that_is_not_the_crate_is_refused() {
    let folder = TempDir::new().unwrap();
    let output = ergon(folder.path(), &["new", "my-app", "--ergon-path", "."]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("is not the folder of the crate `ergon`"), "{}", stderr(&output));
    assert!(files(folder.path()).is_empty());
}

#[test]
fn what_was_generated_once_is_refused_and_nothing_changes() {
    let folder = TempDir::new().unwrap();
    let project = made(folder.path());
    for what in [["task", "bill"], ["connector", "acme"], ["service", "crm"]] {
        let line = ["generate", what[0], what[1]];
        assert!(ergon(&project, &line).status.success());
        let main = std::fs::read_to_string(project.join("src/main.rs")).unwrap();
        let before = files(&project);
        let again = ergon(&project, &line);
        assert_eq!(again.status.code(), Some(1));
        assert!(stderr(&again).contains("/mod.rs\n"), "{}", stderr(&again));
        assert!(stderr(&again).ends_with("move them away, or choose another name\n"), "{}", stderr(&again));
        assert_eq!(files(&project), before);
        assert_eq!(std::fs::read_to_string(project.join("src/main.rs")).unwrap(), main);
    }
}

#[test]
fn what_is_generated_again_after_its_folder_was_deleted_is_added_once() {
    let folder = TempDir::new().unwrap();
    let project = made(folder.path());
    let edited = ["src/main.rs", "src/settings.rs", "src/tasks/mod.rs", "src/services/mod.rs", "ergon.toml"];
    let texts = || edited.map(|file| std::fs::read_to_string(project.join(file)).unwrap());
    let again = || {
        for what in ["task", "service"] {
            let output = ergon(&project, &["generate", what, "bill"]);
            assert!(output.status.success(), "{}", stderr(&output));
        }
        (texts(), files(&project))
    };
    let before = again();
    for folder in ["src/tasks/bill", "src/services/bill"] {
        std::fs::remove_dir_all(project.join(folder)).unwrap();
    }
    assert_eq!(again(), before);

    std::fs::remove_dir_all(project.join("src/tasks/bill")).unwrap();
    let settings = project.join("ergon.toml");
    let less = before.0[4].replace("\n[bill_output]\npath = \"out/bill.jsonl\"\nappend = false\n", "");
    assert_ne!(less, before.0[4]);
    std::fs::write(&settings, less).unwrap();
    let output = ergon(&project, &["generate", "task", "bill"]);
    let told = stdout(&output);
    for part in ["kept     src/main.rs: ", "kept     data/bill.jsonl: ", "changed  ergon.toml\n"] {
        assert!(told.contains(part), "{told}");
    }
    let text = std::fs::read_to_string(&settings).unwrap();
    for table in ["[bill_input]", "[bill_output]", "[bill_refused]"] {
        assert_eq!(text.matches(table).count(), 1, "{text}");
    }
}

#[test]
fn a_file_without_its_mark_is_left_alone_and_what_to_add_is_told() {
    let folder = TempDir::new().unwrap();
    let project = made(folder.path());
    let main = std::fs::read_to_string(project.join("src/main.rs")).unwrap();
    let unmarked: String = main.lines().filter(|line| !line.contains("// ergon:")).collect();
    std::fs::write(project.join("src/main.rs"), &unmarked).unwrap();
    let output = ergon(&project, &["generate", "task", "bill"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let told =
        "src/main.rs has no line that starts with `// ergon:`; add these lines:\n    tasks::bill::config,\n";
    assert!(stdout(&output).contains(told), "{}", stdout(&output));
    assert_eq!(std::fs::read_to_string(project.join("src/main.rs")).unwrap(), unmarked);
}

#[test]
fn outside_of_a_project_nothing_is_generated() {
    let folder = TempDir::new().unwrap();
    let output = ergon(folder.path(), &["generate", "service", "crm"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is not a project"), "{}", stderr(&output));
    assert!(files(folder.path()).is_empty());
}

#[test]
fn a_misspelt_command_gets_a_did_you_mean() {
    let folder = TempDir::new().unwrap();
    let output = ergon(folder.path(), &["generat", "task", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("'generate'"), "{}", stderr(&output));
}

/// The rules of `hadolint` that concern this file; `hadolint` itself where it is installed.
#[test]
fn the_image_is_built_in_stages_and_does_not_run_as_root() {
    let folder = TempDir::new().unwrap();
    let file = made(folder.path()).join("Dockerfile");
    let text = std::fs::read_to_string(&file).unwrap().replace("\\\n", "");
    let of = |word: &str| -> Vec<&str> {
        let start = format!("{word} ");
        text.lines().filter_map(|line| line.strip_prefix(&start)).collect()
    };
    let stages = of("FROM");
    assert_eq!(stages.len(), 2, "a stage that builds, and one that runs");
    for stage in &stages {
        let image = stage.split(' ').next().unwrap();
        let tag = image.rsplit('/').next().unwrap().split_once(':').map(|(_, tag)| tag);
        assert!(tag.is_some_and(|tag| tag != "latest"), "{stage} names no version");
    }
    let last = text.rsplit("\nFROM ").next().unwrap();
    assert!(last.lines().any(|line| line.starts_with("USER ") && !line.contains("root") && line != "USER 0"));
    assert!(of("WORKDIR").iter().all(|folder| folder.starts_with('/')));
    assert!(
        of("ENTRYPOINT").iter().chain(&of("CMD")).all(|line| line.starts_with('[')),
        "a shell would eat signals"
    );
    assert!(of("ADD").is_empty() && !text.contains("sudo"));
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part}"));
    assert!(
        at("COPY Cargo.toml") < at("cargo build") && at("cargo build") < at("COPY src"),
        "libraries first"
    );
    assert!(of("RUN").iter().filter(|run| run.contains("cargo build")).all(|run| run.contains("--locked")));

    let project = file.parent().unwrap();
    for text in [&text, &std::fs::read_to_string(project.join("README.md")).unwrap()] {
        assert!(text.contains("--ergon-git"), "an image sees nothing outside of the project: {text}");
    }

    let hadolint = Command::new("hadolint").args([OsStr::new("--no-color"), file.as_os_str()]).output();
    if let Ok(linted) = hadolint {
        assert!(linted.status.success(), "{}{}", stdout(&linted), stderr(&linted));
    }
}

/// The commands of a document, which run one after the other in a project folder, and their expected output.
struct Walk {
    folder: PathBuf,
    /// The program that the project makes, if the document calls it by its name.
    program: &'static str,
}

impl Walk {
    /// Runs the commands and makes the edits of a document, in its order.
    fn through(&mut self, document: &str) {
        let text = std::fs::read_to_string(root().join("docs").join(document)).unwrap();
        let mut blocks = text.split("\n```");
        let mut before = blocks.next().unwrap();
        let mut old: Option<(String, String)> = None;
        while let (Some(block), Some(after)) = (blocks.next(), blocks.next()) {
            let (kind, content) = block.split_once('\n').unwrap_or((block, ""));
            match (kind, old.take()) {
                ("console", _) => self.commands(content),
                ("rust,edit", None) => {
                    let (_, rest) = before.rsplit_once("In `").unwrap();
                    let (file, _) = rest.split_once('`').unwrap();
                    old = Some((file.to_owned(), content.to_owned()));
                }
                ("rust,edit", Some((file, old))) => self.edit(&file, &old, content),
                _ => {}
            }
            before = after;
        }
    }

    fn edit(&self, file: &str, old: &str, new: &str) {
        let path = self.folder.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(old).count(), 1, "{file}: {old}");
        std::fs::write(path, text.replace(old, new)).unwrap();
    }

    fn commands(&mut self, content: &str) {
        let mut lines = content.lines().peekable();
        while let Some(line) = lines.next() {
            let command = line.strip_prefix("$ ").unwrap_or_else(|| panic!("no command: {line}"));
            let (command, code) = command.split_once(" # exit ").unwrap_or((command, "0"));
            let said = self.run(command, code.parse().unwrap());
            let mut rest = said.lines();
            while let Some(expected) = lines.next_if(|line| !line.starts_with("$ ")) {
                assert!(rest.any(|line| fits(line, expected)), "$ {command}\nno {expected:?} in\n{said}");
            }
        }
    }

    /// Runs a command, and returns its output.
    fn run(&mut self, line: &str, code: i32) -> String {
        if let Some(folder) = line.strip_prefix("cd ") {
            self.folder.push(folder);
            share_what_is_built(&self.folder);
            return String::new();
        }
        let mut shell = Command::new("sh");
        let path = format!(
            "{}:{}",
            target().join("debug/of-documents").join(self.program).display(),
            std::env::var("PATH").unwrap()
        );
        shell.args(["-c", line]).current_dir(&self.folder).env("PATH", path);
        shell.env("CARGO_TARGET_DIR", target()).env("CARGO_NET_OFFLINE", "true");
        forget(&mut shell);
        let output = shell.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "$ {line}\n{}{}", stdout(&output), stderr(&output));
        format!("{}{}", stdout(&output), stderr(&output))
    }

    /// Puts `ergon` and the program itself into the search path of the commands.
    fn new(folder: &Path, program: &'static str) -> Self {
        let bin = target().join("debug/of-documents").join(program);
        std::fs::create_dir_all(&bin).unwrap();
        for (name, place) in [
            ("ergon", PathBuf::from(env!("CARGO_BIN_EXE_ergon_program"))),
            (program, target().join("debug").join(program)),
        ] {
            let link = bin.join(name);
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(place, link).unwrap();
        }
        std::os::unix::fs::symlink(root().join("ergon"), folder.join("ergon")).unwrap();
        Self { folder: folder.to_owned(), program }
    }
}

/// Whether a line is the expected line. `…` matches any text.
fn fits(line: &str, expected: &str) -> bool {
    let mut parts = expected.split('…').map(str::trim_end);
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let mut open = false;
    for part in parts {
        open = true;
        let Some(at) = rest.find(part.trim_start()) else { return false };
        rest = rest.split_at(at + part.trim_start().len()).1;
    }
    open || rest.trim_end().is_empty()
}

#[test]
fn getting_started_says_what_happens() {
    let folder = TempDir::new().unwrap();
    Walk::new(folder.path(), "my-app").through("getting-started.md");
}

#[test]
fn the_page_of_the_command_line_says_what_happens() {
    let folder = TempDir::new().unwrap();
    Walk::new(folder.path(), "shop").through("cli.md");
}

#[test]
fn the_page_of_dead_letters_says_what_happens() {
    let folder = TempDir::new().unwrap();
    Walk::new(folder.path(), "store").through("dead-letters.md");
}
