//! Checks the names of projects and of their parts.

use super::error::CommandError;

/// The keywords of Rust, including reserved keywords: they cannot be the names of modules.
const KEYWORDS: [&str; 53] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static",
    "struct", "super", "trait", "true", "try", "type", "typeof", "union", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield", "raw",
];

/// Names that a package cannot have: folders and crates of Cargo, and the crates that the project uses.
const TAKEN: [&str; 19] = [
    "alloc",
    "build",
    "core",
    "deps",
    "ergon",
    "examples",
    "futures-util",
    "futures_util",
    "incremental",
    "proc-macro",
    "proc_macro",
    "serde",
    "serde_json",
    "std",
    "tempfile",
    "test",
    "thiserror",
    "tokio",
    "tracing",
];

/// The tables of `ergon.toml` that Ergon uses. An adapter is configured in a table of its name.
const TABLES: [&str; 3] = ["runner", "tasks", "telemetry"];

/// The starts and ends of the fields of a generated task. Clippy warns of fields that repeat the name of the task.
const SLOTS: [&str; 4] = ["connector", "input", "output", "refused"];

/// A letter that no template contains.
const OWN: &str = "ø";

/// The longest name. Longer names would break lines of the generated code.
const LONGEST: usize = 30;

/// Checks the name of a project.
pub(crate) fn project(name: &str) -> Result<(), CommandError> {
    check(name, "project")?;
    if TAKEN.contains(&name) {
        return Err(refused(name, "project", "Cargo, Rust or a library of the project uses this name")
            .with_hint(format!("call it `{name}-app`, for example")));
    }
    Ok(())
}

/// The name of a part of a project, in all its forms.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// `price_orders`
    pub(crate) module: String,
    /// `PriceOrders`
    pub(crate) camel: String,
    /// `price-orders`
    pub(crate) kebab: String,
    /// `Price orders`
    pub(crate) title: String,
}

impl Name {
    /// Parses the name of a task, connector or service, with words separated by `-` or `_`.
    pub(crate) fn new(name: &str, what: &str) -> Result<Self, CommandError> {
        check(name, what)?;
        let words: Vec<&str> = name.split(['-', '_']).filter(|word| !word.is_empty()).collect();
        let title = words.join(" ");
        Ok(Self {
            module: words.join("_"),
            camel: words.iter().map(|word| capital(word)).collect(),
            kebab: words.join("-"),
            title: capital(&title),
        })
    }

    /// Checks that the module and the type of the name have no other meaning in the files of a template.
    pub(crate) fn check_within(&self, what: &str, template: &[(&str, &str)]) -> Result<(), CommandError> {
        let module = self.module.as_str();
        if template.iter().any(|(path, _)| path.strip_suffix(".rs") == Some(module)) {
            return Err(self.refused(what, &format!("its own file {module}.rs has the same name")));
        }
        if module.strip_suffix('s') == Some(what) {
            return Err(self.refused(what, "the folder above it has the same name"));
        }
        if what == "task" && SLOTS.contains(&module) {
            return Err(self.refused(what, "its fields, such as `input_connector`, would repeat it"));
        }
        if what != "task" && TABLES.contains(&module) {
            return Err(self.refused(what, &format!("Ergon uses the table `[{module}]` in ergon.toml")));
        }
        let code: String = template.iter().map(|(_, text)| code(text)).collect();
        let (own, other): (Vec<&str>, Vec<&str>) = words(&code).partition(|word| word.starts_with(OWN));
        let mut own = own.into_iter().map(|word| word.replace(OWN, &self.camel));
        match own.find(|word| other.contains(&word.as_str())) {
            Some(word) => Err(self.refused(what, &format!("`{word}` has another meaning in its files"))),
            None => Ok(()),
        }
    }

    /// The error of a name that a part cannot have, with another name as the hint.
    pub(crate) fn refused(&self, what: &str, why: &str) -> CommandError {
        refused(&self.kebab, what, why).with_hint(longer(&self.kebab, what))
    }
}

fn check(name: &str, what: &str) -> Result<(), CommandError> {
    let refused = |why: &str| refused(name, what, why);
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.is_empty() {
        return Err(refused("it is empty"));
    }
    if let Some(other) = name.chars().find(|c| !fits(*c)) {
        let error = refused(&format!(
            "it contains {other:?}; only lower-case letters a to z, digits, `-` and `_` are allowed"
        ));
        let plain = plain(name);
        let usable = !plain.is_empty() && plain != name && check(&plain, what).is_ok();
        return Err(if usable { error.with_hint(format!("did you mean `{plain}`?")) } else { error });
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(refused("it does not start with a letter"));
    }
    if KEYWORDS.contains(&name.trim_matches(['-', '_'])) {
        let hint = longer(name.trim_matches(['-', '_']), what);
        return Err(refused("it is a keyword of Rust").with_hint(hint));
    }
    if name.len() > LONGEST {
        return Err(refused(&format!("it has {} characters; at most {LONGEST} are allowed", name.len())));
    }
    Ok(())
}

fn refused(name: &str, what: &str, why: &str) -> CommandError {
    CommandError::usage(format!("`{name}` cannot be the name of a {what}: {why}"))
}

/// A longer name that is possible. The ending `-service` is cut off, so it would not help.
fn longer(name: &str, what: &str) -> String {
    let ending = if what == "service" { "api" } else { what };
    format!("call it `{name}-{ending}`, for example")
}

/// The code of a template, without comments, with a special letter in the place of the name of the type.
fn code(template: &str) -> String {
    let lines = template.split_inclusive('\n').filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<String>().replace("{{type}}", OWN)
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
}

/// A valid form of the name: `MyApp` and `my app` become `my-app`.
fn plain(name: &str) -> String {
    let mut plain = String::new();
    for letter in name.chars() {
        let ends_word = plain.ends_with(|last: char| last.is_ascii_lowercase() || last.is_ascii_digit());
        match letter {
            ' ' | '.' | '/' if ends_word => plain.push('-'),
            'A'..='Z' => {
                plain.extend(ends_word.then_some('-'));
                plain.push(letter.to_ascii_lowercase());
            }
            'a'..='z' | '0'..='9' | '-' | '_' => plain.push(letter),
            _ => {}
        }
    }
    plain.trim_end_matches('-').to_owned()
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_in_each_form() {
        let expected = Name {
            module: "price_orders".into(),
            camel: "PriceOrders".into(),
            kebab: "price-orders".into(),
            title: "Price orders".into(),
        };
        assert_eq!(Name::new("price-orders", "task").unwrap(), expected);
        assert_eq!(Name::new("price_orders", "task").unwrap(), expected);
    }

    #[test]
    fn a_name_that_its_own_files_use_otherwise_is_refused() {
        let rows = [
            (
                "task.rs",
                "// Refunds\nuse super::errors::Refusal;\nstruct {{type}};\nimpl Consumer for {{type}}",
            ),
            ("errors.rs", "struct {{type}}Error"),
        ];
        let said = |name: &str, what: &str| {
            let checked = Name::new(name, what).unwrap().check_within(what, &rows);
            checked.map_err(|trouble| trouble.to_string())
        };
        let refused = |name: &str, what: &str, why: &str, longer: &str| {
            let hint = format!("call it `{longer}`, for example");
            let text = format!("error: `{name}` cannot be the name of a {what}: {why}\n = hint: {hint}\n");
            assert_eq!(said(name, what), Err(text));
        };
        refused("errors", "task", "its own file errors.rs has the same name", "errors-task");
        refused("consumer", "task", "`Consumer` has another meaning in its files", "consumer-task");
        refused("tasks", "task", "the folder above it has the same name", "tasks-task");
        refused("input", "task", "its fields, such as `input_connector`, would repeat it", "input-task");
        refused("runner", "service", "Ergon uses the table `[runner]` in ergon.toml", "runner-api");
        for good in ["runner", "refunds", "refusals", "bill"] {
            assert_eq!(said(good, "task"), Ok(()), "{good}");
        }
        let trailing = Name::new("fn_", "service").unwrap_err().to_string();
        assert!(trailing.contains("a keyword of Rust\n = hint: call it `fn-api`"), "{trailing}");
    }

    #[test]
    fn a_name_that_cannot_be_one_says_why_and_what_could() {
        let said = |name: &str| project(name).unwrap_err().to_string();
        let refused = |name: &str, why: &str| {
            assert_eq!(said(name), format!("error: `{name}` cannot be the name of a project: {why}\n"));
        };
        let letters = "only lower-case letters a to z, digits, `-` and `_` are allowed";
        refused("", "it is empty");
        refused("1abc", "it does not start with a letter");
        refused("-x", "it does not start with a letter");
        refused("self", "it is a keyword of Rust\n = hint: call it `self-project`, for example");
        refused("crate", "it is a keyword of Rust\n = hint: call it `crate-project`, for example");
        let taken = "Cargo, Rust or a library of the project uses this name";
        refused("test", &format!("{taken}\n = hint: call it `test-app`, for example"));
        refused("MyApp", &format!("it contains 'M'; {letters}\n = hint: did you mean `my-app`?"));
        refused("my app", &format!("it contains ' '; {letters}\n = hint: did you mean `my-app`?"));
        refused("größe", &format!("it contains 'ö'; {letters}\n = hint: did you mean `gre`?"));
        refused("日本", &format!("it contains '日'; {letters}"));
        refused(&"a".repeat(31), "it has 31 characters; at most 30 are allowed");
        for good in ["my-app", "my_app", "a", "app2"] {
            assert_eq!(project(good), Ok(()));
        }
    }
}
