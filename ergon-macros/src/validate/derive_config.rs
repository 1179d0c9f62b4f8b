//! Checks the rules of `#[derive(Connector)]` and `#[derive(Service)]`: the words of the struct, and the source of each
//! field's value.

use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Field, Fields, GenericArgument, Ident, PathArguments, Type};

use crate::diagnostics::{Problems, suggestion};
use crate::model::{ConfigField, DeriveConfig, FieldKind};
use crate::parse::{Entry, Value, entries, in_type};

/// The capabilities that a derived connector may declare; each is a method of `Capabilities` and a trait.
pub(crate) const CAPABILITIES: [&str; 4] = ["count", "fetch_by_id", "dead_letters", "redrive"];

/// One of the two derives: the name of its helper attribute, and the words that a struct may declare in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Derive {
    pub(crate) attribute: &'static str,
    pub(crate) declarations: &'static [&'static str],
}

impl Derive {
    pub(crate) const CONNECTOR: Self = Self {
        attribute: "connector",
        declarations: &["source", "sink", "count", "fetch_by_id", "dead_letters", "redrive", "manual"],
    };
    pub(crate) const SERVICE: Self = Self { attribute: "service", declarations: &["manual"] };
}

const FIELD_KEYS: [&str; 3] = ["service", "default", "skip"];

/// Makes the model of a struct whose config is derived.
pub(crate) fn derive_config(
    derive: Derive,
    input: DeriveInput,
    problems: &mut Problems,
) -> Option<DeriveConfig> {
    let what = if derive.attribute == "connector" { "connector" } else { "service" };
    let Data::Struct(data) = input.data else {
        problems
            .at(&input.ident, format!("a {what} must be a struct; write `struct {} {{ … }}`", input.ident));
        return None;
    };
    if !input.generics.params.is_empty() {
        problems.at(&input.generics, format!("a {what} cannot be generic; write the concrete types"));
        return None;
    }
    let declares = declarations(derive, &input.attrs, problems);
    check_role(derive, &declares, &input.ident, problems);
    check_manual(&declares, problems);
    let fields = match data.fields {
        Fields::Named(fields) => fields.named.into_iter().collect(),
        Fields::Unit => Vec::new(),
        Fields::Unnamed(fields) => {
            problems.at(
                &fields,
                format!(
                    "a {what} must have named fields or no fields, because each field is a key of its config"
                ),
            );
            return None;
        }
    };
    let fields = fields.into_iter().filter_map(|field| config_field(derive, field, problems)).collect();
    Some(DeriveConfig { ergon: super::ergon(), visibility: input.vis, ident: input.ident, fields, declares })
}

fn helper_entries(derive: Derive, attributes: &[Attribute], problems: &mut Problems) -> Vec<Entry> {
    let own = attributes.iter().filter(|attribute| attribute.path().is_ident(derive.attribute));
    let mut all = Vec::new();
    for attribute in own {
        if let Some(list) = problems.keep(attribute.meta.require_list()) {
            all.extend(entries(list.tokens.clone(), problems));
        }
    }
    all
}

fn declarations(derive: Derive, attributes: &[Attribute], problems: &mut Problems) -> Vec<Ident> {
    let mut declared: Vec<Ident> = Vec::new();
    for Entry { key, value } in helper_entries(derive, attributes, problems) {
        let name = key.to_string();
        if !derive.declarations.contains(&name.as_str()) {
            let near = suggestion(&name, derive.declarations.iter().copied());
            problems.at(&key, format!("`{name}` is not a key of `#[{}(…)]`; {near}", derive.attribute));
        } else if !matches!(value, Value::Nothing) {
            problems.at(&key, format!("`{name}` takes no value; write `{name}` alone"));
        } else if declared.contains(&key) {
            problems.at(&key, format!("`{name}` is given twice; keep one of them"));
        } else {
            declared.push(key);
        }
    }
    declared
}

/// Checks that a connector is a source, a sink or both.
fn check_role(derive: Derive, declares: &[Ident], ident: &Ident, problems: &mut Problems) {
    let has_role = declares.iter().any(|word| word == "source" || word == "sink");
    if derive.attribute == "connector" && !has_role && problems.is_empty() {
        let message = format!(
            "`{ident}` declares no role; add `#[connector(source)]`, `#[connector(sink)]` or `#[connector(source, sink)]`"
        );
        problems.at(ident, message);
    }
}

/// Checks that a connector with its own `impl Connector` declares its capabilities only there.
fn check_manual(declares: &[Ident], problems: &mut Problems) {
    if !declares.iter().any(|word| word == "manual") {
        return;
    }
    for word in declares.iter().filter(|word| CAPABILITIES.iter().any(|capability| *word == capability)) {
        let message = format!(
            "with `manual`, your `impl Connector` declares the capabilities; write `fn capabilities` there, and remove `{word}`"
        );
        problems.at(word, message);
    }
}

fn config_field(derive: Derive, field: Field, problems: &mut Problems) -> Option<ConfigField> {
    let entries = helper_entries(derive, &field.attrs, problems);
    let ident = field.ident?;
    let mut kind = FieldKind::Key;
    if let Some(second) = entries.get(1) {
        problems
            .at(&second.key, "a field takes only one of `service`, `default` and `skip`; keep one of them");
    }
    for Entry { key, value } in entries.into_iter().take(1) {
        kind = match (key.to_string().as_str(), value) {
            ("skip", Value::Nothing) => FieldKind::Skip,
            ("service", Value::Nothing) => service_kind(&field.ty, problems).unwrap_or(FieldKind::Unknown),
            ("default", Value::Nothing) => {
                FieldKind::KeyOr(syn::parse_quote!(::core::default::Default::default()))
            }
            ("default", Value::Is(expr)) => FieldKind::KeyOr(expr),
            ("skip" | "service" | "default", Value::Unreadable) => FieldKind::Unknown,
            ("skip" | "service", _) => {
                problems.at(&key, format!("`{key}` takes no value; write `{key}` alone"));
                FieldKind::Unknown
            }
            ("default", _) => {
                problems.at(&key, "`default` takes a value; write `default = 100`");
                FieldKind::Unknown
            }
            (name, _) => {
                let near = suggestion(name, FIELD_KEYS);
                let attribute = derive.attribute;
                problems.at(&key, format!("`{name}` is not a key of `#[{attribute}(…)]` on a field; {near}"));
                FieldKind::Unknown
            }
        };
    }
    let docs = field.attrs.into_iter().filter(|attribute| attribute.path().is_ident("doc")).collect();
    Some(ConfigField { ident, ty: field.ty, docs, kind })
}

/// Returns the kind of a field with `service`: `client: AcmeClient` is built from an `AcmeClientConfig`.
fn service_kind(ty: &Type, problems: &mut Problems) -> Option<FieldKind> {
    let ty = in_type(ty);
    let (inner, shared) = match inside_arc(ty) {
        Some(inner) => (in_type(inner), true),
        None => (ty, false),
    };
    let Type::Path(path) = inner else {
        problems.here(
            ty.span(),
            "a field with `service` must have the type of a service, or an `Arc` of that type",
        );
        return None;
    };
    let mut config = path.clone();
    let last = config.path.segments.last_mut()?;
    last.ident = Ident::new(&format!("{}Config", last.ident), last.ident.span());
    Some(FieldKind::Service { config: Box::new(Type::Path(config)), shared })
}

fn inside_arc(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == "Arc")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(inner) => Some(inner),
        _ => None,
    }
}
