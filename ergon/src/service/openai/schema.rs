//! The JSON schemas of structured answers, in the form that the protocol's strict mode requires.

use async_openai::types::chat::{ResponseFormat, ResponseFormatJsonSchema};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value;

use super::OpenaiError;

/// Limit of a schema's name, in characters.
const LONGEST_NAME: usize = 64;

/// A JSON schema with a name. The model's answer has to fit it.
#[derive(Debug, Clone)]
pub struct Schema {
    name: String,
    schema: Value,
}

impl Schema {
    /// Takes a schema unchanged. The protocol's strict mode is always on. It requires that every object has
    /// `"additionalProperties": false` and lists all its properties as `required`.
    pub fn new(name: impl Into<String>, schema: Value) -> Self {
        Self { name: name.into(), schema }
    }

    /// Makes the schema of a type for strict mode: without further properties, and with all properties required. An
    /// `Option` may be null.
    ///
    /// ```
    /// use ergon::service::openai::Schema;
    ///
    /// #[derive(schemars::JsonSchema)]
    /// # #[expect(dead_code)]
    /// struct Address { street: String, floor: Option<u8> }
    ///
    /// let schema = Schema::of::<Address>();
    /// assert_eq!(schema.as_value()["required"], serde_json::json!(["street", "floor"]));
    /// ```
    pub fn of<T: JsonSchema>() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.meta_schema = None);
        let generator = settings.with_transform(RecursiveTransform(strict)).into_generator();
        let schema = generator.into_root_schema_for::<T>().to_value();
        let name = T::schema_name();
        let name = name.chars().map(|c| if is_of_a_name(c) { c } else { '_' });
        Self { name: name.take(LONGEST_NAME).collect(), schema }
    }

    /// The schema as JSON.
    pub fn as_value(&self) -> &Value {
        &self.schema
    }

    pub(super) fn into_format(self) -> Result<ResponseFormat, OpenaiError> {
        let Self { name, schema } = self;
        let refused = |why: &str| OpenaiError::Schema { name: name.clone(), why: why.to_owned() };
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_of_a_name) {
            return Err(refused("its name has other than 1 to 64 letters, digits, `_` and `-`"));
        }
        if schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err(refused("it is not of type `object`; put the value into a field of a struct"));
        }
        let json_schema = ResponseFormatJsonSchema { description: None, name, schema, strict: Some(true) };
        Ok(ResponseFormat::JsonSchema { json_schema })
    }
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Adapts a schema to strict mode, and removes keys that the mode does not know.
fn strict(schema: &mut schemars::Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("default");
    if object.get("format").is_some() && object.get("type").and_then(Value::as_str) != Some("string") {
        object.remove("format");
    }
    if let Some(properties) = object.get("properties").and_then(Value::as_object) {
        let names: Vec<Value> = properties.keys().map(|name| name.as_str().into()).collect();
        object.insert("required".to_owned(), names.into());
        object.insert("additionalProperties".to_owned(), false.into());
    }
}
