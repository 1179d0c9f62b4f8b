//! Generates the completions for shells and the manual page of a project's program.

use clap::Command;

use super::{Package, args};

/// The output of a command that needs no settings.
pub(super) fn page(package: &Package, command: &args::Command) -> Option<String> {
    let mut page = Vec::new();
    match command {
        args::Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut args::command(package), package.name, &mut page);
        }
        args::Command::Man => {
            let whole = args::command(package);
            let inner: Vec<Command> = whole.get_subcommands().cloned().collect();
            // Writing to memory cannot fail.
            let _ = clap_mangen::Man::new(whole).render(&mut page);
            for command in inner {
                let name = command.get_name().to_uppercase();
                page.extend_from_slice(format!(".SH {}\n", name.replace('-', "\\-")).as_bytes());
                let man = clap_mangen::Man::new(command);
                let _ = man.render_description_section(&mut page);
                let _ = man.render_options_section(&mut page);
                let _ = man.render_extra_section(&mut page);
            }
        }
        _ => return None,
    }
    Some(String::from_utf8_lossy(&page).into_owned())
}
