//! What shells and `man` want to know of the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Arguments;
use super::error::CommandError;

/// A script that completes the words of the command line.
pub(crate) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "ergon", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The man page, all commands on one page.
pub(crate) fn man() -> Result<String, CommandError> {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(Arguments::command());
    man.render(&mut page)
        .map_err(|error| CommandError::failed(format!("the man page cannot be made: {error}")))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
