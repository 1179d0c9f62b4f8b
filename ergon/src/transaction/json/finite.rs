//! Wraps a serializer, and refuses floats that are not finite, because `serde_json` would silently write `null`.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::Value;

/// The reason why a value cannot be written as JSON.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// A number that JSON has no form for (`NaN`, `infinity`, `-infinity`), and the path of its field, such as
    /// `lines[2].price`. No path if it is the value itself.
    NotFinite { number: &'static str, field: Option<String> },
    /// The error of `serde_json`.
    Other(serde_json::Error),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite { number, field: Some(field) } => write!(f, "its field `{field}` is {number}"),
            Self::NotFinite { number, field: None } => write!(f, "it is {number}"),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WriteError {}

thread_local! {
    /// The memory in which values are written, before their bytes are copied at their exact length.
    static WRITTEN: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The number of bytes that the memory of a thread keeps, because one large value must not hold its memory for ever.
const MOST_KEPT: usize = 64 << 10;

/// Writes `value` as JSON.
///
/// # Errors
/// The value has a float that is not finite, or anything else that JSON cannot hold, such as a map whose keys are
/// lists.
pub(crate) fn to_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, WriteError> {
    // While a value is written, its code may write other values. Those find the cell empty, and use separate memory.
    let mut written = WRITTEN.take();
    let mut json = serde_json::Serializer::new(&mut written);
    let result = match Checked::<T, Refuse>::new(value).serialize(&mut json) {
        Ok(()) => Ok(Bytes::copy_from_slice(&written)),
        Err(error) => Err(found(value).unwrap_or(WriteError::Other(error))),
    };
    if written.capacity() <= MOST_KEPT {
        written.clear();
        WRITTEN.set(written);
    }
    result
}

/// Writes again, with a mark in the place of the refused number, to learn its path.
#[cold]
fn found<T: Serialize + ?Sized>(value: &T) -> Option<WriteError> {
    let marked = Checked::<T, Mark>::new(value).serialize(serde_json::value::Serializer).ok()?;
    let mut path = String::new();
    let number = find(&marked, &mut path)?;
    Some(WriteError::NotFinite { number, field: Some(path).filter(|path| !path.is_empty()) })
}

fn find(value: &Value, path: &mut String) -> Option<&'static str> {
    let length = path.len();
    let mut within = |step: String, value: &Value| {
        path.push_str(&step);
        let found = find(value, path);
        if found.is_none() {
            path.truncate(length);
        }
        found
    };
    match value {
        Value::String(text) => marked(text),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| within(format!("[{index}]"), item))
        }
        Value::Object(entries) => {
            let dot = if length == 0 { "" } else { "." };
            entries.iter().find_map(|(key, item)| marked(key).or_else(|| within(format!("{dot}{key}"), item)))
        }
        _ => None,
    }
}

/// The marks. They begin with characters for private use, so that no ordinary text is a mark.
const MARKS: [(&str, &str); 3] = [
    ("\u{f8ff}\u{e000}ergon NaN", "NaN"),
    ("\u{f8ff}\u{e000}ergon infinity", "infinity"),
    ("\u{f8ff}\u{e000}ergon -infinity", "-infinity"),
];

fn marked(text: &str) -> Option<&'static str> {
    MARKS.iter().find(|(mark, _)| *mark == text).map(|(_, number)| *number)
}

/// The treatment of a float that is not finite.
trait NotFinite {
    fn take<S: Serializer>(serializer: S, float: f64) -> Result<S::Ok, S::Error>;
}

struct Refuse;

impl NotFinite for Refuse {
    #[cold]
    fn take<S: Serializer>(_serializer: S, float: f64) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom(format_args!("{float} is no number of JSON")))
    }
}

struct Mark;

impl NotFinite for Mark {
    fn take<S: Serializer>(serializer: S, float: f64) -> Result<S::Ok, S::Error> {
        let [nan, above, below] = MARKS;
        let (mark, _) = if float.is_nan() {
            nan
        } else if float > 0.0 {
            above
        } else {
            below
        };
        serializer.serialize_str(mark)
    }
}

/// A value that is serialized through a [`Checker`].
struct Checked<'a, T: ?Sized, P>(&'a T, PhantomData<P>);

impl<'a, T: ?Sized, P> Checked<'a, T, P> {
    fn new(value: &'a T) -> Self {
        Self(value, PhantomData)
    }
}

impl<T: Serialize + ?Sized, P: NotFinite> Serialize for Checked<'_, T, P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(Checker::<S, P>::new(serializer))
    }
}

/// A serializer, or a part of one, that checks floats, and forwards everything to the serializer inside.
struct Checker<S, P>(S, PhantomData<P>);

impl<S, P> Checker<S, P> {
    fn new(inner: S) -> Self {
        Self(inner, PhantomData)
    }
}

macro_rules! forwarded {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method(self, $($argument: $type),*) -> Result<S::Ok, S::Error> {
            self.0.$method($($argument),*)
        }
    )*};
}

impl<S: Serializer, P: NotFinite> Serializer for Checker<S, P> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Checker<S::SerializeSeq, P>;
    type SerializeTuple = Checker<S::SerializeTuple, P>;
    type SerializeTupleStruct = Checker<S::SerializeTupleStruct, P>;
    type SerializeTupleVariant = Checker<S::SerializeTupleVariant, P>;
    type SerializeMap = Checker<S::SerializeMap, P>;
    type SerializeStruct = Checker<S::SerializeStruct, P>;
    type SerializeStructVariant = Checker<S::SerializeStructVariant, P>;

    fn serialize_f32(self, float: f32) -> Result<S::Ok, S::Error> {
        if float.is_finite() { self.0.serialize_f32(float) } else { P::take(self.0, f64::from(float)) }
    }

    fn serialize_f64(self, float: f64) -> Result<S::Ok, S::Error> {
        if float.is_finite() { self.0.serialize_f64(float) } else { P::take(self.0, float) }
    }

    forwarded! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_bytes(value: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_some(&Checked::<T, P>::new(value))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_struct(name, &Checked::<T, P>::new(value))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_variant(name, index, variant, &Checked::<T, P>::new(value))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.0.serialize_seq(len).map(Checker::new)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.0.serialize_tuple(len).map(Checker::new)
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.0.serialize_tuple_struct(name, len).map(Checker::new)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.0.serialize_tuple_variant(name, index, variant, len).map(Checker::new)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.0.serialize_map(len).map(Checker::new)
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        self.0.serialize_struct(name, len).map(Checker::new)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.0.serialize_struct_variant(name, index, variant, len).map(Checker::new)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! sequences {
    ($($part:ident $method:ident;)*) => {$(
        impl<S: $part, P: NotFinite> $part for Checker<S, P> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                self.0.$method(&Checked::<T, P>::new(value))
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        }
    )*};
}

sequences! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

macro_rules! structs {
    ($($part:ident)*) => {$(
        impl<S: $part, P: NotFinite> $part for Checker<S, P> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                self.0.serialize_field(name, &Checked::<T, P>::new(value))
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), S::Error> {
                self.0.skip_field(name)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        }
    )*};
}

structs! { SerializeStruct SerializeStructVariant }

impl<S: SerializeMap, P: NotFinite> SerializeMap for Checker<S, P> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.0.serialize_key(&Checked::<T, P>::new(key))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.0.serialize_value(&Checked::<T, P>::new(value))
    }

    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), S::Error> {
        self.0.serialize_entry(&Checked::<K, P>::new(key), &Checked::<V, P>::new(value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}
