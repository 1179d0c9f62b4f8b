//! The settings as one tree, in which every value knows where it came from.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// A file that settings were read from.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// The path as it is shown.
    pub(crate) name: String,
    /// The folder that relative paths in the file are relative to.
    pub(crate) folder: PathBuf,
    pub(crate) text: String,
}

impl SourceFile {
    /// Names a file by its path; its text is `text`.
    pub(crate) fn new(path: &Path, text: String) -> Arc<Self> {
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Arc::new(Self { name: path.display().to_string(), folder, text })
    }

    /// The line and column of a byte, both counted from 1, the column in characters.
    pub(crate) fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (before.matches('\n').count() + 1, column)
    }

    /// The text of a line, counted from 1.
    pub(crate) fn line(&self, number: usize) -> &str {
        self.text.lines().nth(number.saturating_sub(1)).unwrap_or_default()
    }
}

/// Where a value came from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// No file was found.
    Nowhere,
    /// A file as a whole.
    File(Arc<SourceFile>),
    /// A stretch of a file.
    Span(Arc<SourceFile>, Range<usize>),
    /// A variable of the process environment.
    Variable(Arc<Variable>),
    /// An option of the command line, as it was written.
    Flag(String),
}

/// A variable of the process environment.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl Origin {
    /// The file it came from, if it came from one.
    pub(crate) fn file(&self) -> Option<&Arc<SourceFile>> {
        match self {
            Self::File(file) | Self::Span(file, _) => Some(file),
            Self::Nowhere | Self::Variable(_) | Self::Flag(_) => None,
        }
    }
}

/// A value, and where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
    /// What this value stands over: an environment variable hides the value of a file.
    pub(crate) hidden: Option<Origin>,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Table(Vec<Entry>),
    List(Vec<Node>),
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// The text of a variable: whatever its reader asks for.
    Untyped(Untyped),
}

/// The text of a variable, and the TOML list or table that it can be read as.
#[derive(Debug, Clone)]
pub(crate) struct Untyped {
    pub(crate) text: String,
    pub(crate) compound: Option<Box<Node>>,
    /// It stands over a number or a flag; a reader that does not say what it wants gets one again.
    pub(crate) over_scalar: bool,
}

/// A key of a table with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_origin: Origin,
    pub(crate) node: Node,
    /// The key is the name of a variable, so case and dashes are unknown.
    pub(crate) loose: bool,
}

impl Untyped {
    /// The number or flag that the text is, where it stands over one.
    pub(crate) fn scalar(&self) -> Option<Value> {
        let text = self.over_scalar.then_some(self.text.trim())?;
        let integer = text.parse().ok().map(Value::Integer);
        let float = || text.parse().ok().map(Value::Float);
        integer.or_else(float).or_else(|| text.parse().ok().map(Value::Boolean))
    }
}

impl Entry {
    /// Says whether this is the entry for `key`.
    pub(crate) fn is(&self, key: &str) -> bool {
        self.key == key || (self.loose && loose(&self.key) == loose(key))
    }
}

/// A key as a variable would name it: lower case, dashes as underscores.
pub(crate) fn loose(key: &str) -> String {
    key.to_lowercase().replace('-', "_")
}

impl Node {
    /// A value that hides nothing.
    pub(crate) fn new(value: Value, origin: Origin) -> Self {
        Self { value, origin, hidden: None }
    }

    /// A table without entries.
    pub(crate) fn table(origin: Origin) -> Self {
        Self::new(Value::Table(Vec::new()), origin)
    }

    /// Reads a whole TOML file.
    pub(crate) fn parse(file: &Arc<SourceFile>) -> Result<Self, Problem> {
        let root = DeTable::parse(&file.text).map_err(|error| Problem::syntax(file, &error))?;
        let entries = entries(file, root.into_inner())?;
        Ok(Self::new(Value::Table(entries), Origin::File(Arc::clone(file))))
    }

    /// Reads the text of a variable as a TOML list or table; all of it comes from where the variable came from.
    fn compound(text: &str, origin: &Origin) -> Option<Self> {
        let file = SourceFile::new(Path::new(""), text.to_owned());
        let mut node = node(&file, DeValue::parse(&file.text).ok()?).ok()?;
        node.came_from(origin);
        matches!(node.value, Value::List(_) | Value::Table(_)).then_some(node)
    }

    fn came_from(&mut self, origin: &Origin) {
        self.origin = origin.clone();
        match &mut self.value {
            Value::Table(entries) => {
                for entry in entries {
                    entry.key_origin = origin.clone();
                    entry.node.came_from(origin);
                }
            }
            Value::List(items) => items.iter_mut().for_each(|item| item.came_from(origin)),
            _ => {}
        }
    }

    /// The entries of a table; none for anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The node under these keys, one below the other.
    pub(crate) fn find<'k>(&self, keys: impl IntoIterator<Item = &'k str>) -> Option<&Self> {
        keys.into_iter().try_fold(self, |node, key| {
            node.entries().iter().find(|entry| entry.is(key)).map(|entry| &entry.node)
        })
    }

    /// Takes the entry of a key out of a table.
    pub(crate) fn take(&mut self, key: &str) -> Option<Self> {
        let Value::Table(entries) = &mut self.value else { return None };
        let at = entries.iter().position(|entry| entry.is(key))?;
        Some(entries.remove(at).node)
    }

    /// Puts the text of a variable under these keys, one below the other; what stands there is hidden.
    pub(crate) fn set(&mut self, keys: &[&str], text: &str, origin: &Origin) -> Result<(), Problem> {
        let Some((key, below)) = keys.split_first() else {
            let hidden = std::mem::replace(&mut self.origin, origin.clone());
            self.hidden = (!matches!(hidden, Origin::Nowhere)).then_some(hidden);
            let compound = Self::compound(text, origin).map(Box::new);
            let over_scalar = matches!(self.value, Value::Integer(_) | Value::Float(_) | Value::Boolean(_));
            self.value = Value::Untyped(Untyped { text: text.to_owned(), compound, over_scalar });
            return Ok(());
        };
        if let Value::Untyped(Untyped { compound: Some(compound), .. }) = &self.value {
            *self = (**compound).clone();
        }
        let Value::Table(entries) = &mut self.value else {
            return Err(Problem::not_a_table(origin, &self.origin));
        };
        child(entries, key, origin, below.is_empty()).set(below, text, origin)
    }

    /// The value in words, as a message shows what was found.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Table(_) => "a table".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Untyped(Untyped { text, .. }) if text.parse::<f64>().is_ok() => text.clone(),
            Value::String(text) | Value::Untyped(Untyped { text, .. }) => quoted(text),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(flag) => flag.to_string(),
        }
    }
}

/// Text in quotes, cut short when it is long.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    if text.chars().count() <= SHOWN {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(SHOWN).collect();
    format!("{start:?}...")
}

/// The entry that a variable means by `key`; made if there is none.
fn child<'t>(entries: &'t mut Vec<Entry>, key: &str, origin: &Origin, last: bool) -> &'t mut Node {
    let wanted = loose(key);
    let at = entries.iter().position(|entry| loose(&entry.key) == wanted).unwrap_or_else(|| {
        let made = Node::table(if last { Origin::Nowhere } else { origin.clone() });
        entries.push(Entry { key: wanted, key_origin: origin.clone(), node: made, loose: true });
        entries.len() - 1
    });
    #[expect(clippy::indexing_slicing, reason = "`at` was found in, or just pushed to, `entries`")]
    &mut entries[at].node
}

fn entries(file: &Arc<SourceFile>, table: DeTable<'_>) -> Result<Vec<Entry>, Problem> {
    let entries = table.into_iter().map(|(key, value)| {
        let key_origin = Origin::Span(Arc::clone(file), key.span());
        Ok(Entry { key: key.into_inner().into_owned(), key_origin, node: node(file, value)?, loose: false })
    });
    let mut entries: Vec<Entry> = entries.collect::<Result<_, Problem>>()?;
    entries.sort_by_key(|entry| match &entry.key_origin {
        Origin::Span(_, span) => span.start,
        _ => usize::MAX,
    });
    Ok(entries)
}

fn node(file: &Arc<SourceFile>, spanned: Spanned<DeValue<'_>>) -> Result<Node, Problem> {
    let origin = Origin::Span(Arc::clone(file), spanned.span());
    let value = match spanned.into_inner() {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Boolean(flag) => Value::Boolean(flag),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            Value::Integer(parsed.map_err(|_| Problem::number_out_of_range(&origin))?)
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().parse();
            Value::Float(parsed.map_err(|_| Problem::number_out_of_range(&origin))?)
        }
        DeValue::Array(items) => {
            Value::List(items.into_iter().map(|item| node(file, item)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => Value::Table(entries(file, table)?),
    };
    Ok(Node::new(value, origin))
}
