//! Normalizes the compiler's output on a case, so that it is the same on every machine and after every edit of another
//! file. The format is that of `trybuild`.

use std::path::Path;

/// The workspace, as seen from the package that has the sources of `ergon`.
const PLAIN: &str = "ui-tests/plain/../../";

/// The cases, as seen from the workspace.
const CASES: &str = "ui-tests/cases/";

/// The length of a list of types that implement a trait: what follows depends on the libraries.
const LISTED: usize = 8;

/// The words for the compiler's output on a case.
pub(crate) fn words(output: &str, case: &Path) -> String {
    let output = output.replace("ergon_plain", "ergon");
    let mut lines: Vec<String> = Vec::new();
    let mut elsewhere = false;
    let mut list = None;
    for line in output.lines().map(str::trim_end).filter(|line| !is_summary(line)) {
        let start = line.trim_start();
        let line = if start.starts_with("--> ") || start.starts_with("::: ") {
            elsewhere = !start.contains(&*case.to_string_lossy());
            if elsewhere { portable(&without_position(line)) } else { line.to_owned() }
        } else {
            elsewhere &=
                start.starts_with(|first: char| first.is_ascii_digit() || first == '|' || first == '.');
            if elsewhere { without_number(line) } else { line.to_owned() }
        };
        let line = line.replace(PLAIN, "$WORKSPACE/").replace(CASES, "cases/");
        if let Some(line) = of_list(line, &mut list)
            && !(line.is_empty() && lines.last().is_none_or(String::is_empty))
        {
            lines.push(line);
        }
    }
    let text = unindented(&lines).join("\n");
    text.trim_end().to_owned() + "\n"
}

/// Whether a line only counts or explains the errors before it.
fn is_summary(line: &str) -> bool {
    const SUMMARIES: [&str; 4] = [
        "error: aborting due to ",
        "Some errors have detailed explanations:",
        "For more information about an error, try `rustc --explain",
        "For more information about this error, try `rustc --explain",
    ];
    SUMMARIES.iter().any(|summary| line.starts_with(summary))
        || line.trim_start().starts_with("= note: the full name for the type has been written to")
}

/// `  --> file.rs:22:29` without the line and the column.
fn without_position(line: &str) -> String {
    let mut file = line;
    for _ in 0..2 {
        if let Some((rest, number)) = file.rsplit_once(':')
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            file = rest;
        }
    }
    file.to_owned()
}

/// `  --> path` without the folders in which this machine has the sources of libraries.
fn portable(line: &str) -> String {
    let folder_ends = |folder: &str| line.split_once(folder).map(|(_, file)| file);
    let margin = " ".repeat(line.len() - line.trim_start().len());
    let mark: String = line.trim_start().chars().take(4).collect();
    if let Some(file) = folder_ends("/rustlib/src/rust/library/") {
        return format!("{margin}{mark}$RUST/{file}");
    }
    let of_crate = folder_ends("/registry/src/").and_then(|rest| rest.split_once('/')?.1.split_once('/'));
    if let Some((name_and_version, file)) = of_crate
        && let Some((name, _)) = name_and_version.rsplit_once('-')
    {
        return format!("{margin}{mark}$CARGO/{name}-$VERSION/{file}");
    }
    line.to_owned()
}

/// `22 | code` with spaces in the place of the number.
fn without_number(line: &str) -> String {
    let code = line.trim_start_matches(|first: char| first == ' ' || first.is_ascii_digit());
    " ".repeat(line.len() - code.len()) + code
}

/// A line of a list of types with its end cut off; `listed` counts the types so far.
fn of_list(line: String, listed: &mut Option<usize>) -> Option<String> {
    let start = line.trim_start();
    if start.starts_with("= help: the following types implement trait ")
        || start.starts_with("= help: the following other types implement trait ")
    {
        *listed = Some(0);
        return Some(line);
    }
    let indent = line.len() - start.len();
    let Some(count) = listed.as_mut().filter(|_| indent >= 12) else {
        *listed = None;
        return Some(line);
    };
    *count += 1;
    match *count {
        ..=LISTED => Some(line),
        more if more == LISTED + 1 => Some(" ".repeat(indent - 2) + "and $N others"),
        _ => None,
    }
}

/// The part that a line has in an error.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// The first line of an error or a warning.
    Heading,
    /// A place or code, with the spaces that could be cut off before it.
    Code(usize),
    /// A note or help between the code.
    Note,
    /// Anything else, with the spaces before it.
    Other(usize),
}

/// Cuts the margin of each error to the width that the case's own line numbers need: the margin of the compiler is as
/// wide as the number of a line of another file.
fn unindented(lines: &[String]) -> Vec<String> {
    let mut cut = Vec::new();
    let mut rest = lines;
    while let Some((heading, after)) = rest.split_first() {
        cut.push(heading.clone());
        rest = after;
        let begins = part(heading, false) == Part::Heading || heading.starts_with("note: ");
        if !begins || !after.first().is_some_and(|line| line.trim_start().starts_with("--> ")) {
            continue;
        }
        let block = block(after);
        let margin = block
            .iter()
            .filter_map(|(_, part)| if let Part::Code(width) = part { Some(*width) } else { None });
        let margin = margin.min().unwrap_or(0);
        cut.extend(block.iter().map(|(line, part)| match part {
            Part::Note | Part::Heading => (*line).to_owned(),
            Part::Code(_) | Part::Other(_) => without_margin(line, margin),
        }));
        rest = after.split_at(block.len()).1;
    }
    cut
}

/// The lines after a heading that belong to it.
fn block(lines: &[String]) -> Vec<(&str, Part)> {
    let mut after_note = false;
    let parts = lines.iter().map(|line| {
        let part = part(line, after_note);
        after_note = part == Part::Note;
        (line.as_str(), part)
    });
    let belongs = |(_, part): &(&str, Part)| match part {
        Part::Heading => false,
        Part::Code(_) | Part::Note => true,
        Part::Other(spaces) => *spaces > 10,
    };
    parts.take_while(belongs).collect()
}

/// A line without the first spaces of its margin; its number stays.
fn without_margin(line: &str, margin: usize) -> String {
    line.replacen(&" ".repeat(margin), "", 1)
}

fn part(line: &str, after_note: bool) -> Part {
    let level = line.strip_prefix("error").or_else(|| line.strip_prefix("warning"));
    if level.is_some_and(|rest| rest.starts_with([':', '['])) {
        return Part::Heading;
    }
    if line.starts_with("note:")
        || line.starts_with("help:")
        || line == "..."
        || after_note && line.starts_with("      ")
    {
        return Part::Note;
    }
    let spaces = |text: &str| text.len() - text.trim_start_matches(' ').len();
    if let Some(rest) = line.strip_prefix("... ") {
        return Part::Code(spaces(rest));
    }
    let numbered = line.trim_start_matches(' ');
    let rest = numbered.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let has_number = numbered.len() > rest.len();
    let margin = spaces(line) + spaces(rest);
    let rest = rest.trim_start_matches(' ');
    let starts = |marks: &[&str]| {
        marks
            .iter()
            .any(|mark| rest.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')))
    };
    let is_code = starts(&["|"])
        || has_number && starts(&["~", "+", "-"])
        || !has_number && ["--> ", "::: ", "= "].iter().any(|mark| rest.starts_with(mark));
    match (is_code && margin > 0, has_number) {
        (true, _) => Part::Code(margin - 1),
        (false, true) => Part::Other(0),
        (false, false) => Part::Other(margin),
    }
}

#[test]
fn the_folders_of_this_machine_are_not_shown() {
    let places = [
        (
            "/home/a/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/serde-1.0.229/src/de.rs",
            "$CARGO/serde-$VERSION/src/de.rs",
        ),
        ("/home/a/toolchain/lib/rustlib/src/rust/library/core/src/marker.rs", "$RUST/core/src/marker.rs"),
        ("ui-tests/plain/../../ergon/src/lib.rs", "$WORKSPACE/ergon/src/lib.rs"),
    ];
    for (place, shown) in places {
        let output = format!("error: no\n  --> {place}:22:29\n   |\n22 | code\n   | ^^^^ here\n");
        let words = words(&output, Path::new("cases/task/fail/no.rs"));
        assert_eq!(words, format!("error: no\n --> {shown}\n  |\n  | code\n  | ^^^^ here\n"));
    }
}
