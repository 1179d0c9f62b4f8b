//! Names: what a project, and what a module of it may be called.

use super::error::CommandError;

/// The words of Rust, those that are kept for later included: no module can be called so.
const KEYWORDS: [&str; 53] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static",
    "struct", "super", "trait", "true", "try", "type", "typeof", "union", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield", "raw",
];

/// What a package cannot be called: Cargo's own folders and crates, and the crates that the project uses.
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

/// The tables of `ergon.toml` that are Ergon's own: an adapter is configured in a table of its name.
const TABLES: [&str; 3] = ["runner", "tasks", "telemetry"];

/// What the fields of a generated task begin or end with: Clippy wants none to repeat the name of the task.
const SLOTS: [&str; 4] = ["connector", "input", "output", "refused"];

/// A letter that no word of a template has.
const OWN: &str = "ø";

/// Longer ones would break the lines of what is generated.
const LONGEST: usize = 30;

/// Checks the name of a project.
pub(crate) fn project(name: &str) -> Result<(), CommandError> {
    check(name, "project")?;
    if TAKEN.contains(&name) {
        return Err(refused(
            name,
            "project",
            "it is taken by Cargo, Rust or a library that the project uses",
        )
        .with_hint(format!("call it `{name}-app`, for example")));
    }
    Ok(())
}

/// The name of something in a project, in the forms in which it is written.
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
    /// Reads the name of a task, connector or service; words may be parted by `-` or `_`.
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

    /// Refuses a name whose module or type would be taken for another one in the files of a template, each a path and
    /// a text.
    pub(crate) fn check_within(&self, what: &str, template: &[(&str, &str)]) -> Result<(), CommandError> {
        let module = self.module.as_str();
        if template.iter().any(|(path, _)| path.strip_suffix(".rs") == Some(module)) {
            return Err(self.refused(what, &format!("a file of its own is called {module}.rs")));
        }
        if module.strip_suffix('s') == Some(what) {
            return Err(self.refused(what, "the folder above it is called so"));
        }
        if what == "task" && SLOTS.contains(&module) {
            return Err(self.refused(what, "its fields, such as `input_connector`, would repeat it"));
        }
        if what != "task" && TABLES.contains(&module) {
            return Err(self.refused(what, &format!("`[{module}]` in ergon.toml belongs to Ergon")));
        }
        let code: String = template.iter().map(|(_, text)| code(text)).collect();
        let (own, other): (Vec<&str>, Vec<&str>) = words(&code).partition(|word| word.starts_with(OWN));
        let mut own = own.into_iter().map(|word| word.replace(OWN, &self.camel));
        match own.find(|word| other.contains(&word.as_str())) {
            Some(word) => Err(self.refused(what, &format!("`{word}` means something else in its files"))),
            None => Ok(()),
        }
    }

    /// Says that something cannot have this name, and which one it could have.
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
        let trouble =
            refused(&format!("it has a {other:?}; small letters a to z, digits, `-` and `_` may be in it"));
        let plain = plain(name);
        let usable = !plain.is_empty() && plain != name && check(&plain, what).is_ok();
        return Err(if usable { trouble.with_hint(format!("did you mean `{plain}`?")) } else { trouble });
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(refused("it does not begin with a letter"));
    }
    if KEYWORDS.contains(&name.trim_matches(['-', '_'])) {
        let hint = longer(name.trim_matches(['-', '_']), what);
        return Err(refused("it is a word of Rust").with_hint(hint));
    }
    if name.len() > LONGEST {
        return Err(refused(&format!("it has {} letters; at most {LONGEST} are possible", name.len())));
    }
    Ok(())
}

fn refused(name: &str, what: &str, why: &str) -> CommandError {
    CommandError::usage(format!("`{name}` cannot be the name of a {what}: {why}"))
}

/// A longer name that can be had. The ending of a service is cut off, so it would not help.
fn longer(name: &str, what: &str) -> String {
    let ending = if what == "service" { "api" } else { what };
    format!("call it `{name}-{ending}`, for example")
}

/// The lines of a template that are no comment, with a letter in the place of the type's name.
fn code(template: &str) -> String {
    let lines = template.split_inclusive('\n').filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<String>().replace("{{type}}", OWN)
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
}

/// The name as it could be written: `MyApp` and `my app` become `my-app`.
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
        refused("errors", "task", "a file of its own is called errors.rs", "errors-task");
        refused("consumer", "task", "`Consumer` means something else in its files", "consumer-task");
        refused("tasks", "task", "the folder above it is called so", "tasks-task");
        refused("input", "task", "its fields, such as `input_connector`, would repeat it", "input-task");
        refused("runner", "service", "`[runner]` in ergon.toml belongs to Ergon", "runner-api");
        for good in ["runner", "refunds", "refusals", "bill"] {
            assert_eq!(said(good, "task"), Ok(()), "{good}");
        }
        let trailing = Name::new("fn_", "service").unwrap_err().to_string();
        assert!(trailing.contains("a word of Rust\n = hint: call it `fn-api`"), "{trailing}");
    }

    #[test]
    fn a_name_that_cannot_be_one_says_why_and_what_could() {
        let said = |name: &str| project(name).unwrap_err().to_string();
        let refused = |name: &str, why: &str| {
            assert_eq!(said(name), format!("error: `{name}` cannot be the name of a project: {why}\n"));
        };
        let letters = "small letters a to z, digits, `-` and `_` may be in it";
        refused("", "it is empty");
        refused("1abc", "it does not begin with a letter");
        refused("-x", "it does not begin with a letter");
        refused("self", "it is a word of Rust\n = hint: call it `self-project`, for example");
        refused("crate", "it is a word of Rust\n = hint: call it `crate-project`, for example");
        let taken = "it is taken by Cargo, Rust or a library that the project uses";
        refused("test", &format!("{taken}\n = hint: call it `test-app`, for example"));
        refused("MyApp", &format!("it has a 'M'; {letters}\n = hint: did you mean `my-app`?"));
        refused("my app", &format!("it has a ' '; {letters}\n = hint: did you mean `my-app`?"));
        refused("größe", &format!("it has a 'ö'; {letters}\n = hint: did you mean `gre`?"));
        refused("日本", &format!("it has a '日'; {letters}"));
        refused(&"a".repeat(31), "it has 31 letters; at most 30 are possible");
        for good in ["my-app", "my_app", "a", "app2"] {
            assert_eq!(project(good), Ok(()));
        }
    }
}
