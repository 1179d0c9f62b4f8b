//! Finds the type of a missing key, so that the error message can show an example.

use std::cell::RefCell;
use std::fmt::Write as _;

use serde::de::{Deserializer, Error as _, Visitor};

use super::duration::is_duration;
use super::fault::{Fault, Missing};
use super::origin::Origin;
use super::path::FilePath;
use super::problem::Problem;
use super::sources::variable_of;
use super::suggest;
use super::tree::Node;

/// Offers a missing key, and records the requested type of its value.
#[derive(Debug)]
pub(super) struct Probe {
    table: String,
    field: &'static str,
    shape: RefCell<Shape>,
}

/// The type of a value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Shape {
    #[default]
    Anything,
    Text,
    Path,
    Number,
    Duration,
    Flag,
    List,
    Table(&'static [&'static str]),
    OneOf(&'static [&'static str]),
}

impl Probe {
    pub(super) fn new(table: &str, field: &'static str) -> Self {
        Self { table: table.to_owned(), field, shape: RefCell::default() }
    }

    /// The key to offer in the table at `path`, if that table lacks the key.
    pub(super) fn asks_for(&self, path: &str, fields: &[&str]) -> Option<&'static str> {
        (self.table == path && fields.contains(&self.field)).then_some(self.field)
    }

    pub(super) fn shape(&self) -> Shape {
        *self.shape.borrow()
    }

    fn saw<T>(&self, shape: Shape) -> Result<T, Fault> {
        *self.shape.borrow_mut() = shape;
        Err(Fault::custom("only asked"))
    }
}

macro_rules! saw {
    ($($method:ident $shape:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
            self.saw(Shape::$shape)
        }
    )*};
}

impl<'de> Deserializer<'de> for &Probe {
    type Error = Fault;

    saw! {
        deserialize_any Anything deserialize_bool Flag deserialize_i8 Number deserialize_i16 Number
        deserialize_i32 Number deserialize_i64 Number deserialize_i128 Number deserialize_u8 Number
        deserialize_u16 Number deserialize_u32 Number deserialize_u64 Number deserialize_u128 Number
        deserialize_f32 Number deserialize_f64 Number deserialize_char Text deserialize_str Text
        deserialize_string Text deserialize_bytes Text deserialize_byte_buf Text deserialize_unit Anything
        deserialize_seq List deserialize_identifier Text deserialize_ignored_any Anything
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, _: V) -> Result<V::Value, Fault> {
        self.saw(Shape::Table(&[]))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name == FilePath::NAME { self.saw(Shape::Path) } else { visitor.visit_newtype_struct(self) }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Fault> {
        self.saw(Shape::List)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        _: V,
    ) -> Result<V::Value, Fault> {
        self.saw(Shape::List)
    }

    fn deserialize_map<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        self.saw(Shape::Table(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Fault> {
        self.saw(if is_duration(name, fields) { Shape::Duration } else { Shape::Table(fields) })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Fault> {
        self.saw(Shape::OneOf(variants))
    }
}

impl Shape {
    /// An example of `field` in a table.
    fn example(self, field: &str) -> String {
        match self {
            Self::Anything => format!("`{field} = ...`"),
            Self::Text => format!("`{field} = \"...\"`"),
            Self::Path => format!("`{field} = \"path/of/the/file\"`"),
            Self::Number => format!("`{field} = 1` (a number)"),
            Self::Duration => format!("`{field} = \"30s\"` (a duration)"),
            Self::Flag => format!("`{field} = true` or `{field} = false`"),
            Self::List => format!("`{field} = [...]`"),
            Self::Table(_) => format!("`{field} = {{ ... }}`"),
            Self::OneOf(variants) => {
                let all: Vec<String> =
                    variants.iter().map(|name| format!("`{field} = \"{name}\"`")).collect();
                suggest::list(&all, "or")
            }
        }
    }
}

impl Missing {
    /// The problem: the table, the missing key, and an example.
    pub(super) fn problem(self, root: &Node, shape: Shape) -> Problem {
        let Self { table, field, origin } = self;
        let path = if table.is_empty() { field.to_owned() } else { format!("{table}.{field}") };
        let what = match (shape, &origin) {
            (Shape::Table(_), Origin::Nowhere) => {
                format!("there is no table [{path}], because there is no ergon.toml")
            }
            (Shape::Table(_), _) => format!("there is no table [{path}]"),
            (_, Origin::Nowhere) => "this key is missing, because there is no ergon.toml".to_owned(),
            (_, Origin::Span(..)) => format!("the table [{table}] has no key `{field}`"),
            _ => "this key is missing".to_owned(),
        };
        let mut hint = match (shape, table.is_empty()) {
            (Shape::Table(fields), _) => table_hint(&path, fields),
            (_, true) => format!("write {} above the first table", shape.example(field)),
            (_, false) => format!("write {} below [{table}]", shape.example(field)),
        };
        if !matches!(shape, Shape::Table(_)) && !path.contains('[') {
            // Writing to a String cannot fail.
            let _ = write!(hint, ", or set {}", variable_of(path.split('.')));
        }
        let place = if table.is_empty() { root.origin.clone() } else { origin };
        Problem::new(place, path, what).with_hint(format!("hint: {hint}"))
    }
}

fn table_hint(path: &str, fields: &[&str]) -> String {
    let keys: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
    if keys.is_empty() {
        return format!("write [{path}] with its keys below it");
    }
    format!("write [{path}] with its keys below it: {}", suggest::list(&keys, "and"))
}
