//! Holds the settings as one tree, in which every value has its origin.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::origin::{Origin, SourceFile};
use super::problem::Problem;
use super::setting::Setting;

/// A value with its origin.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
    /// The origin of the value that this value replaces: a variable replaces the value of a file.
    pub(crate) hidden: Option<Origin>,
}

#[derive(Clone)]
pub(crate) enum Value {
    Table(Vec<Entry>),
    List(Vec<Node>),
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// The text of a variable, which is parsed as the requested type.
    Untyped(Untyped),
    /// An unreadable variable: an error only if a setting reads it.
    Unreadable(Box<Problem>),
}

/// The text of a variable, and the TOML list or table in it.
#[derive(Clone)]
pub(crate) struct Untyped {
    pub(crate) text: String,
    pub(crate) compound: Option<Box<Node>>,
    /// Whether it replaces a number or a flag. A reader without a requested type then gets a number or a flag.
    pub(crate) over_scalar: bool,
}

/// A key of a table with its value.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_origin: Origin,
    pub(crate) node: Node,
    /// Whether the key is from the name of a variable, so that case and dashes are unknown.
    pub(crate) loose: bool,
}

impl Untyped {
    /// The number or flag in the text, if it replaces a number or a flag.
    pub(crate) fn scalar(&self) -> Option<Value> {
        let text = self.over_scalar.then_some(self.text.trim())?;
        let integer = text.parse().ok().map(Value::Integer);
        let float = || text.parse().ok().map(Value::Float);
        integer.or_else(float).or_else(|| text.parse().ok().map(Value::Boolean))
    }
}

impl Entry {
    /// Whether the key is in the text of a variable, and so part of its value.
    pub(super) fn is_in_value(&self) -> bool {
        !self.loose && self.key_origin.is_private()
    }

    /// Whether this is the entry of `key`.
    pub(crate) fn is(&self, key: &str) -> bool {
        self.key == key || (self.loose && loose(&self.key) == loose(key))
    }
}

/// A key in the form of a variable: lower case, with underscores for dashes.
pub(crate) fn loose(key: &str) -> String {
    key.to_lowercase().replace('-', "_")
}

impl Node {
    /// Creates a value that replaces no other value.
    pub(crate) fn new(value: Value, origin: Origin) -> Self {
        Self { value, origin, hidden: None }
    }

    /// Creates an empty table.
    pub(crate) fn table(origin: Origin) -> Self {
        Self::new(Value::Table(Vec::new()), origin)
    }

    /// Parses a whole TOML file.
    pub(crate) fn parse(file: &Arc<SourceFile>) -> Result<Self, Problem> {
        let root = DeTable::parse(&file.text).map_err(|error| Problem::syntax(file, &error))?;
        let entries = entries(file, root.into_inner())?;
        let node = Self::new(Value::Table(entries), Origin::File(Arc::clone(file)));
        let mut values = Vec::new();
        node.add_values(&mut values);
        values.sort_by_key(|value| value.start);
        file.set_values(values);
        Ok(node)
    }

    /// Collects the places of all values in it that are not lists or tables.
    fn add_values(&self, values: &mut Vec<Range<usize>>) {
        match (&self.value, &self.origin) {
            (Value::Table(entries), _) => entries.iter().for_each(|entry| entry.node.add_values(values)),
            (Value::List(items), _) => items.iter().for_each(|item| item.add_values(values)),
            (_, Origin::Span(_, span)) => values.push(span.clone()),
            _ => {}
        }
    }

    /// Whether it is not a list or a table.
    pub(super) fn is_scalar(&self) -> bool {
        !matches!(self.value, Value::Table(_) | Value::List(_))
    }

    /// Calls `each` with the text of every value in it that is not a list or a table, and whether a variable set it.
    pub(super) fn texts(&self, each: &mut dyn FnMut(&str, bool)) {
        let private = self.origin.is_private();
        match &self.value {
            Value::Table(entries) => {
                for entry in entries {
                    // A key in the text of a variable is part of its value.
                    if entry.is_in_value() {
                        each(&entry.key, true);
                    }
                    entry.node.texts(each);
                }
            }
            Value::List(items) => items.iter().for_each(|item| item.texts(each)),
            Value::String(text) => each(text, private),
            Value::Integer(number) => each(&number.to_string(), private),
            Value::Float(number) => each(&number.to_string(), private),
            Value::Untyped(Untyped { text, compound, .. }) => {
                each(text, private);
                if let Some(node) = compound {
                    node.texts(each);
                }
            }
            Value::Boolean(_) | Value::Unreadable(_) => {}
        }
    }

    /// Parses the text of a variable as a TOML list or table. All its values have the origin of the variable.
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

    /// The entries of a table; none for any other value.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The node under this path of keys.
    pub(crate) fn find<'k>(&self, keys: impl IntoIterator<Item = &'k str>) -> Option<&Self> {
        keys.into_iter().try_fold(self, |node, key| {
            node.entries().iter().find(|entry| entry.is(key)).map(|entry| &entry.node)
        })
    }

    /// Removes the entry of a key from a table.
    pub(crate) fn take(&mut self, key: &str) -> Option<Self> {
        let Value::Table(entries) = &mut self.value else { return None };
        let at = entries.iter().position(|entry| entry.is(key))?;
        Some(entries.remove(at).node)
    }

    /// Sets the text of a variable under this path of keys, and replaces the value there.
    pub(super) fn set(&mut self, keys: &[&str], setting: &Setting) -> Result<(), Problem> {
        let Setting { text, origin, problem, .. } = setting;
        let Some((key, below)) = keys.split_first() else {
            let hidden = std::mem::replace(&mut self.origin, origin.clone());
            self.hidden = (!matches!(hidden, Origin::Nowhere)).then_some(hidden);
            let compound = Self::compound(text, origin).map(Box::new);
            let over_scalar = matches!(self.value, Value::Integer(_) | Value::Float(_) | Value::Boolean(_));
            self.value = match problem {
                Some(problem) => Value::Unreadable(problem.clone()),
                None => Value::Untyped(Untyped { text: text.clone(), compound, over_scalar }),
            };
            return Ok(());
        };
        if let Value::Untyped(Untyped { compound: Some(compound), .. }) = &self.value {
            *self = (**compound).clone();
        }
        let Value::Table(entries) = &mut self.value else {
            return Err(Problem::not_a_table(origin, &self.origin));
        };
        child(entries, key, origin, below.is_empty()).set(below, setting)
    }

    /// The end of a message with the found value: `, found 0`; empty if a variable set it.
    pub(crate) fn found(&self) -> String {
        if self.is_scalar() && self.origin.is_private() {
            return String::new();
        }
        format!(", found {}", self.describe())
    }

    /// The value in a message; it may be a secret.
    pub(super) fn describe(&self) -> String {
        match &self.value {
            Value::Table(_) => "a table".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::String(text) | Value::Untyped(Untyped { text, .. }) => quoted(text),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(flag) => flag.to_string(),
            Value::Unreadable(_) => "an unreadable variable".to_owned(),
        }
    }
}

/// Shows the origin only, because the value may be secret.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("at", &self.origin.at()).finish_non_exhaustive()
    }
}

/// Quotes a text, and shortens a long text.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    if text.chars().count() <= SHOWN {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(SHOWN).collect();
    format!("{start:?}...")
}

/// The entry that a variable means by `key`; created if there is none.
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
