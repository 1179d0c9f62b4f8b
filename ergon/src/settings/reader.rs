//! Deserializes types from the settings tree, so that an error names the file, line and key of the invalid value.

use std::marker::PhantomData;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::duration::{self, is_duration};
use super::fault::{Fault, Missing, unknown_key};
use super::origin::Origin;
use super::path::FilePath;
use super::probe::{Probe, Shape};
use super::problem::Problem;
use super::setting::Setting;
use super::suggest;
use super::tree::{Entry, Node, Untyped, Value};
use crate::transaction::Text;

/// The path of standard input or output.
const STANDARD_STREAM: &str = "-";

/// The top-level keys of the framework, for suggestions.
pub(super) const RESERVED: [&str; 3] = ["telemetry", "runner", "tasks"];

/// Reads a `T` from a node under `path`.
///
/// # Errors
/// The problem of the first invalid value, or of all unknown keys of one table.
pub(super) fn read<T: DeserializeOwned>(node: &Node, path: &str) -> Result<T, Vec<Problem>> {
    let top = Path { parent: None, key: path };
    let reader = Reader { node, path: &top, probe: None, secret: false };
    match T::deserialize(reader).map_err(|fault| fault.at(node, path, false)) {
        Ok(value) => Ok(value),
        Err(Fault::Placed(problems)) => Err(problems),
        Err(Fault::Missing(missing)) => {
            let shape = shape_of::<T>(reader, &missing);
            Err(vec![missing.problem(node, shape)])
        }
        Err(Fault::Bare(bare)) => Err(vec![Problem::new(node.origin.clone(), path, format!("{bare:?}"))]),
    }
}

/// Whether a `T` reads the value under these keys.
pub(super) fn is_asked_for<T: DeserializeOwned>(keys: &[&str]) -> bool {
    const ASKED: &str = "this key was read";
    let asked = Problem::new(Origin::Nowhere, "", ASKED);
    let mut tree = Node::table(Origin::Nowhere);
    let set = tree.set(keys, &Setting::unreadable("", Origin::Nowhere, asked));
    let found = set.map_or_else(|_| Vec::new(), |()| read::<T>(&tree, "").err().unwrap_or_default());
    found.iter().any(|problem| problem.what == ASKED)
}

/// Reads again and offers the missing key, to find the type of its value.
fn shape_of<T: DeserializeOwned>(reader: Reader<'_, '_>, missing: &Missing) -> Shape {
    let probe = Probe::new(&missing.table, missing.field);
    // The reading fails again at the offered key. The probe has recorded the type.
    let _ = T::deserialize(Reader { probe: Some(&probe), ..reader });
    probe.shape()
}

/// The keys from the top to a value.
#[derive(Debug, Clone, Copy)]
struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    key: &'p str,
}

impl Path<'_> {
    fn text(&self) -> String {
        match self.parent.map(Path::text) {
            None => self.key.to_owned(),
            Some(parent) if parent.is_empty() || self.key.starts_with('[') => format!("{parent}{}", self.key),
            Some(parent) => format!("{parent}.{}", self.key),
        }
    }
}

/// Reads one node.
#[derive(Clone, Copy)]
struct Reader<'de, 'p> {
    node: &'de Node,
    path: &'p Path<'p>,
    probe: Option<&'p Probe>,
    /// Whether the requested type is that of a secret.
    secret: bool,
}

impl<'de> Reader<'de, '_> {
    /// Adds this place to an error without a place.
    fn place<T>(self, result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|fault| fault.at(self.node, &self.path.text(), self.secret))
    }

    /// The reader of a value below this one, for `seed`.
    fn below<'b, S: DeserializeSeed<'de>>(
        self,
        node: &'de Node,
        path: &'b Path<'b>,
    ) -> Result<Reader<'de, 'b>, Fault>
    where
        Self: 'b,
    {
        if let Value::Unreadable(problem) = &node.value {
            return Err(Fault::Placed(vec![(**problem).clone()]));
        }
        let secret = self.secret || is_secret_type(std::any::type_name::<S>());
        Ok(Reader { node, path, probe: self.probe, secret })
    }

    /// The list or table in the text of a variable; for any other node, the node itself.
    fn compound(self) -> Self {
        match &self.node.value {
            Value::Untyped(Untyped { compound: Some(node), .. }) => Reader { node, ..self },
            _ => self,
        }
    }

    fn visit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Table(entries) => visitor.visit_map(Entries::new(self, entries)),
            Value::List(items) => visitor.visit_seq(Items { reader: self, rest: items.iter(), index: 0 }),
            Value::String(text) | Value::Untyped(Untyped { text, .. }) => visitor.visit_borrowed_str(text),
            Value::Integer(number) => visit_integer(*number, visitor),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(flag) => visitor.visit_bool(*flag),
            Value::Unreadable(problem) => Err(Fault::Placed(vec![(**problem).clone()])),
        }
    }

    /// Resolves a path: a relative path in a file is relative to the folder of that file.
    fn beside_its_file(self, text: &str) -> String {
        let file = self.node.origin.file().filter(|_| text != STANDARD_STREAM);
        let joined = file.and_then(|file| file.folder.join(text).to_str().map(str::to_owned));
        joined.unwrap_or_else(|| text.to_owned())
    }

    /// Reads a struct, and reports all unknown keys together.
    fn visit_struct<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let entries = self.node.entries();
        let unknown: Vec<Problem> = entries
            .iter()
            .filter(|entry| !fields.iter().any(|field| entry.is(field)))
            .filter(|entry| !self.is_of_another(entry, fields))
            .map(|entry| self.unknown(entry, fields))
            .collect();
        if !unknown.is_empty() {
            return Err(Fault::Placed(unknown));
        }
        let missing = self.probe.and_then(|probe| probe.asks_for(&self.path.text(), fields));
        visitor.visit_map(Entries { fields: Some(fields), missing, ..Entries::new(self, entries) })
    }

    /// Whether a variable may belong to another program. The environment is shared, so `ERGON_PORT` of a container runtime
    /// is not a mistake, unless it looks like a misspelt key of the settings.
    fn is_of_another(self, entry: &Entry, fields: &'static [&'static str]) -> bool {
        let top = self.path.parent.is_none() && self.path.key.is_empty();
        let variable = entry.loose && matches!(entry.node.value, Value::Untyped(_) | Value::Unreadable(_));
        top && variable && suggest::similar(&entry.key, fields.iter().copied()).is_none()
    }

    fn unknown(self, entry: &Entry, fields: &'static [&'static str]) -> Problem {
        let table = self.path.text();
        let reserved: &[&str] = if table.is_empty() { &RESERVED } else { &[] };
        let problem = |what: String| Problem::new(entry.key_origin.clone(), table.clone(), what);
        let shown = (!entry.is_in_value()).then_some(&*entry.key);
        unknown_key(problem, &entry.key, shown, fields.iter().chain(reserved).copied())
    }
}

/// Whether a type is, or contains, a type of the crate `secrecy`. Errors never show such a value.
fn is_secret_type(name: &str) -> bool {
    name.contains("secrecy::")
}

fn visit_integer<'de, V: Visitor<'de>>(number: i64, visitor: V) -> Result<V::Value, Fault> {
    match u64::try_from(number) {
        Ok(number) => visitor.visit_u64(number),
        Err(_) => visitor.visit_i64(number),
    }
}

macro_rules! scalars {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.place(match &self.node.value {
                Value::Untyped(Untyped { text, .. }) => Text::new(text).into_deserializer().$method(visitor),
                _ => self.visit(visitor),
            })
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'de, '_> {
    type Error = Fault;

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_unit deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Value::Untyped(untyped) = &self.node.value else { return self.place(self.visit(visitor)) };
        self.place(match untyped.scalar() {
            Some(Value::Integer(number)) => visit_integer(number, visitor),
            Some(Value::Float(number)) => visitor.visit_f64(number),
            Some(Value::Boolean(flag)) => visitor.visit_bool(flag),
            _ => self.compound().visit(visitor),
        })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Untyped(Untyped { text, .. }) if text.is_empty() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::String(text) | Value::Untyped(Untyped { text, .. }) if name == FilePath::NAME => {
                self.place(visitor.visit_string(self.beside_its_file(text)))
            }
            _ => self.place(visitor.visit_newtype_struct(self)),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.place(self.compound().visit(visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.place(self.compound().visit(visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let reader = self.compound();
        self.place(match &reader.node.value {
            Value::Table(_) => reader.visit_struct(fields, visitor),
            _ if is_duration(name, fields) => duration::read(reader, visitor),
            _ => reader.visit(visitor),
        })
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.node.entries() {
            [] => self.place(visitor.visit_unit()),
            entries => Err(Fault::Placed(entries.iter().map(|entry| self.unknown(entry, &[])).collect())),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let reader = self.compound();
        self.place(match &reader.node.value {
            Value::String(text) | Value::Untyped(Untyped { text, .. }) => {
                Text::new(text).into_deserializer().deserialize_enum(name, variants, visitor)
            }
            Value::Table(entries) if let [entry] = entries.as_slice() => {
                visitor.visit_enum(Variant { reader, entry })
            }
            _ => Err(Fault::variant(reader.node, variants)),
        })
    }
}

/// The entries of a table, one by one; then the key that a probe offers.
struct Entries<'de, 'p> {
    reader: Reader<'de, 'p>,
    rest: std::slice::Iter<'de, Entry>,
    /// The known keys. An entry from a variable has the known key that it means.
    fields: Option<&'static [&'static str]>,
    current: Option<(&'de str, &'de Entry)>,
    missing: Option<&'static str>,
}

impl<'de, 'p> Entries<'de, 'p> {
    fn new(reader: Reader<'de, 'p>, entries: &'de [Entry]) -> Self {
        Self { reader, rest: entries.iter(), fields: None, current: None, missing: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'de, '_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let fields = self.fields;
        let known = |entry: &'de Entry| match fields {
            None => Some((entry.key.as_str(), entry)),
            Some(fields) => fields.iter().find(|field| entry.is(field)).map(|field| (*field, entry)),
        };
        self.current = self.rest.find_map(known);
        let Some(key) = self.current.map(|(key, _)| key).or_else(|| self.missing.take()) else {
            return Ok(None);
        };
        seed.deserialize(Text::new(key).into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        match (self.current.take(), self.reader.probe) {
            (Some((key, entry)), _) => {
                // A key of a map in the text of a variable is part of its value.
                let key = if self.fields.is_none() && entry.is_in_value() { "*" } else { key };
                let path = Path { parent: Some(self.reader.path), key };
                let reader = self.reader.below::<V>(&entry.node, &path)?;
                seed.deserialize(reader).map_err(|fault| fault.at(reader.node, &path.text(), reader.secret))
            }
            (None, Some(probe)) => seed.deserialize(probe),
            (None, None) => Err(serde::de::Error::custom("a value was read before its key")),
        }
    }
}

/// The items of a list, one by one.
struct Items<'de, 'p> {
    reader: Reader<'de, 'p>,
    rest: std::slice::Iter<'de, Node>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.rest.next() else { return Ok(None) };
        let key = format!("[{}]", self.index);
        self.index += 1;
        let path = Path { parent: Some(self.reader.path), key: &key };
        let reader = self.reader.below::<T>(node, &path)?;
        seed.deserialize(reader).map(Some).map_err(|fault| fault.at(node, &path.text(), reader.secret))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// A variant with content: a table of one key.
struct Variant<'de, 'p> {
    reader: Reader<'de, 'p>,
    entry: &'de Entry,
}

impl<'de> EnumAccess<'de> for Variant<'de, '_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let variant = seed.deserialize(Text::new(&self.entry.key).into_deserializer());
        Ok((variant?, self))
    }
}

impl<'de> Variant<'de, '_> {
    fn read<S: DeserializeSeed<'de>, T>(
        self,
        read: impl FnOnce(Reader<'de, '_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let path = Path { parent: Some(self.reader.path), key: &self.entry.key };
        read(self.reader.below::<S>(&self.entry.node, &path)?)
    }
}

impl<'de> VariantAccess<'de> for Variant<'de, '_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        self.read::<PhantomData<()>, _>(|reader| serde::Deserialize::deserialize(reader))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        self.read::<T, _>(|reader| reader.place(seed.deserialize(reader)))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.read::<PhantomData<()>, _>(|reader| reader.deserialize_seq(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.read::<PhantomData<()>, _>(|reader| reader.deserialize_struct("", fields, visitor))
    }
}
