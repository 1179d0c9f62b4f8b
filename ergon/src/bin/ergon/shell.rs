//! Generates the completions for shells and the manual page of `ergon`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Arguments;
use super::error::CommandError;

/// A script that completes command lines.
pub(crate) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "ergon", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The manual page, with all commands on one page.
pub(crate) fn man() -> Result<String, CommandError> {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(Arguments::command());
    man.render(&mut page)
        .map_err(|error| CommandError::failed(format!("the manual page cannot be rendered: {error}")))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
