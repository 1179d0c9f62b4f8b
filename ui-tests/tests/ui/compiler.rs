//! Compiles a case as Cargo would compile it in a package that depends on `ergon`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The compiler of this test, and the libraries that it and the cases use.
const COMPILER: &[&str] = linked::compiler!();

/// This package's folder in the workspace.
const FOLDER: &str = "ui-tests";

/// Finds the errors of a case.
pub(crate) fn check(case: &Path, folder: &Path) -> Output {
    compile(case, "metadata", &folder.join(name(case)))
}

/// Compiles a case to a program. Returns the file of the program, and the output of the compiler.
pub(crate) fn build(case: &Path, folder: &Path) -> (PathBuf, Output) {
    let program = folder.join(name(case));
    let output = compile(case, "link", &program);
    (program, output)
}

fn compile(case: &Path, emit: &str, file: &Path) -> Output {
    let [compiler, libraries @ ..] = COMPILER else { panic!("the compiler of this test is not known") };
    let mut command = Command::new(compiler);
    // Cargo compiled `ergon` in this folder, so the compiler can show the lines of `ergon` only from this folder.
    command.current_dir(workspace());
    // The macros ask Cargo for the package that they expand in, and its manifest for the name of `ergon`.
    command.env("CARGO_MANIFEST_DIR", package()).env("CARGO_PKG_NAME", env!("CARGO_PKG_NAME"));
    command.env("CARGO_PKG_VERSION", env!("CARGO_PKG_VERSION"));
    command.args([
        "--edition=2024",
        "--crate-type=bin",
        "--color=never",
        "--diagnostic-width=140",
        "--verbose",
    ]);
    command.arg(format!("--emit={emit}={}", file.display())).arg(Path::new(FOLDER).join(case));
    command.args(libraries).output().unwrap()
}

/// The name of a case's program: `task_hybrid` for `cases/task/pass/hybrid.rs`.
fn name(case: &Path) -> String {
    let names: Vec<_> = case.iter().map(|part| part.to_string_lossy()).collect();
    let [_, of_macro, _, file] = names.as_slice() else { panic!("{} is no case", case.display()) };
    format!("{of_macro}_{}", file.trim_end_matches(".rs"))
}

/// The folder of this package.
pub(crate) fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of the workspace.
pub(crate) fn workspace() -> &'static Path {
    package().parent().unwrap()
}
