//! Checks the rules of `#[ergon::task]`, and infers the values that the attribute leaves out: the roles of connectors
//! and the types of services.

use std::collections::HashSet;

use ergon_schema::suggest::slip;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, Field, Fields, Ident, ItemStruct, Lit, Path, Type};

use super::policy;
use super::recover::recover;
use super::sections::{SECTIONS, section};
use crate::diagnostics::{Problems, suggestion};
use crate::model::{Connector, Form, OwnField, Policy, Role, Service, ServiceType, Task};
use crate::parse::{Entry, TaskInput, Value};

const ROLES: [&str; 3] = ["Source", "Sink", "Duplex"];

/// Makes the model of a task. With mistakes, the model is the closest valid one, for the stand-in.
pub(crate) fn task(input: TaskInput, problems: &mut Problems) -> Task {
    let TaskInput { entries, item } = input;
    let entries = recover(entries, problems);
    check_sections(&entries, problems);
    let fits = check_shape(&item, problems);
    let section = |name: &str| section(&entries, name);
    let ergon = section("crate").and_then(|entry| crate_path(entry, problems)).unwrap_or_else(super::ergon);
    let (attributes, is_only_task) = without_second_task(item.attrs, &ergon, problems);
    let name = section("name").and_then(|entry| task_name(entry, problems));
    let (consumer, producer) = (section("consumer"), section("producer"));
    let has_source = consumer.is_some() || producer.is_none();
    let from = consumer.and_then(policy::from);
    let first = if has_source { First::Source(from.as_ref()) } else { First::Sink };
    let connectors = section("connectors").map(|entry| connectors(entry, first, problems));
    let mut connectors = connectors.unwrap_or_default();
    let mut services = section("services").map(|entry| services(entry, problems)).unwrap_or_default();
    keep_first_of_a_name(&mut connectors, &mut services, problems);
    let mut fields = own_fields(item.fields.clone(), problems);
    check_own_fields(&mut fields, &connectors, &services, problems);
    let form = form(section("blocking"), section("execute"), problems);
    let names_slots = !connectors.is_empty() || !has_source || form == Form::Execute;
    if has_source && from.is_none() && form != Form::Execute {
        check_has_source(&connectors, section("connectors"), &item.ident, problems);
    }
    let workers = section("workers").and_then(|entry| policy::workers(entry, problems));
    let default = || Policy { role: "consumer", settings: Vec::new() };
    let consumer = consumer.map(|entry| policy::consumer(entry, &connectors, problems));
    let producer = producer.map(|entry| policy::producer(entry, &connectors, problems));
    Task {
        ergon,
        name: name.unwrap_or_else(|| kebab_case(&item.ident.to_string())),
        attributes,
        visibility: item.vis,
        ident: item.ident,
        generics: item.generics,
        connectors,
        services,
        fields,
        form,
        consumer: if has_source { consumer.or_else(|| Some(default())) } else { None },
        producer,
        workers,
        known: fits && is_only_task && names_slots,
    }
}

/// The role of the first connector, if the attribute gives it no role.
#[derive(Debug, Clone, Copy)]
enum First<'a> {
    /// The source, unless `from` names another connector.
    Source(Option<&'a Ident>),
    /// A sink like the others, because the task does not consume.
    Sink,
}

fn form(blocking: Option<&Entry>, execute: Option<&Entry>, problems: &mut Problems) -> Form {
    let mut given = |entry: Option<&Entry>| entry.is_some_and(|entry| policy::stands_alone(entry, problems));
    match (given(blocking), given(execute)) {
        (false, false) => Form::Async,
        (true, false) => Form::Blocking,
        (false, true) => Form::Execute,
        (true, true) => {
            if let Some(entry) = blocking {
                let message = "`blocking` cannot be combined with `execute`; remove `blocking`, and call `run.consume_blocking`";
                problems.at(&entry.key, message);
            }
            Form::Execute
        }
    }
}

fn check_sections(entries: &[Entry], problems: &mut Problems) {
    let mut seen = HashSet::new();
    for entry in entries {
        let name = entry.key.to_string();
        if !SECTIONS.contains(&name.as_str()) {
            let near = suggestion(&name, SECTIONS);
            problems.at(&entry.key, format!("`{name}` is not a section of `#[ergon::task]`; {near}"));
        } else if !seen.insert(name.clone()) {
            problems.at(&entry.key, format!("`{name}` is given twice; keep one of them"));
        }
    }
}

/// Returns whether the struct can be a task.
fn check_shape(item: &ItemStruct, problems: &mut Problems) -> bool {
    if let Fields::Unnamed(fields) = &item.fields {
        let ident = &item.ident;
        let message =
            format!("a task must have named fields or no fields; write `struct {ident} {{ field: Type }}`");
        problems.at(fields, message);
    }
    if !item.generics.params.is_empty() {
        let only_lifetimes = item.generics.params.len() == item.generics.lifetimes().count();
        let message = if only_lifetimes {
            "a task cannot borrow; own the data, or share it in an `Arc`"
        } else {
            "a task cannot be generic; write the concrete types, or inject the part that differs as a service"
        };
        problems.at(&item.generics, message);
    }
    item.generics.params.is_empty() && !matches!(item.fields, Fields::Unnamed(_))
}

/// Returns the struct's attributes without a second `#[ergon::task(…)]`, which would add every field again. Also
/// returns whether there was no second attribute.
fn without_second_task(
    attributes: Vec<Attribute>,
    ergon: &Path,
    problems: &mut Problems,
) -> (Vec<Attribute>, bool) {
    let krate = ergon.segments.last().map(|segment| segment.ident.to_string());
    let is_task = |attribute: &Attribute| {
        let names: Vec<_> =
            attribute.path().segments.iter().map(|segment| segment.ident.to_string()).collect();
        match names.as_slice() {
            [task] => task == "task",
            [.., of, task] => task == "task" && (of == "ergon" || krate.as_ref() == Some(of)),
            [] => false,
        }
    };
    let (again, others): (Vec<_>, Vec<_>) = attributes.into_iter().partition(is_task);
    for attribute in &again {
        let message =
            "a struct takes one `#[ergon::task(…)]`; move these sections into the other, and remove this one";
        problems.at(attribute, message);
    }
    (others, again.is_empty())
}

pub(super) fn crate_path(entry: &Entry, problems: &mut Problems) -> Option<Path> {
    match &entry.value {
        Value::Is(Expr::Path(path)) => Some(path.path.clone()),
        Value::Is(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => problems.keep(text.parse()),
        Value::Unreadable => None,
        _ => {
            problems.at(&entry.key, "`crate` takes the path of the crate `ergon`; write `crate = my_ergon`");
            None
        }
    }
}

fn task_name(entry: &Entry, problems: &mut Problems) -> Option<String> {
    let text = match &entry.value {
        Value::Is(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => text,
        Value::Unreadable => return None,
        _ => {
            problems.at(&entry.key, "`name` takes a text in quotes; write `name = \"order-processor\"`");
            return None;
        }
    };
    let name = text.value();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(fits) || name.starts_with('-') || name.ends_with('-') {
        let message = "a task's name consists of lower-case letters, digits and `-`; write one such as \"order-processor\"";
        problems.at(text, message);
        return None;
    }
    Some(name)
}

/// Returns the entries of a section that is a list.
fn list<'a>(entry: &'a Entry, example: &str, problems: &mut Problems) -> &'a [Entry] {
    match &entry.value {
        Value::List(list, _) => return list,
        Value::Unreadable => return &[],
        _ => {}
    }
    problems.at(&entry.key, format!("`{}` takes a list in parentheses; write `{example}`", entry.key));
    &[]
}

fn connectors(section: &Entry, first: First<'_>, problems: &mut Problems) -> Vec<Connector> {
    let entries = list(section, "connectors(input, output)", problems);
    let known = |from: &Ident| entries.iter().any(|entry| entry.key == *from);
    let mut connectors = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        if !is_name(&entry.key, problems) {
            continue;
        }
        let is_source = match first {
            First::Source(Some(from)) if known(from) => *from == entry.key,
            First::Source(_) => index == 0,
            First::Sink => false,
        };
        let by_place = if is_source { Role::Source } else { Role::Sink };
        let role = match &entry.value {
            Value::Nothing | Value::Unreadable => by_place,
            Value::Typed(ty) => role(ty, problems).unwrap_or(by_place),
            Value::Is(_) | Value::List(..) => {
                let key = &entry.key;
                let message = format!("expected `{key}`, `{key}: Source`, `{key}: Sink` or `{key}: Duplex`");
                problems.at(key, message);
                by_place
            }
        };
        connectors.push(Connector { name: entry.key.clone(), role });
    }
    connectors
}

/// Returns the role that a connector's type names; `None` for a misspelt role.
fn role(ty: &Type, problems: &mut Problems) -> Option<Role> {
    let plain = match ty {
        Type::Path(path) => path.path.get_ident().map(ToString::to_string),
        _ => None,
    };
    match plain.as_deref() {
        Some("Source") => Some(Role::Source),
        Some("Sink") => Some(Role::Sink),
        Some("Duplex") => Some(Role::Duplex),
        Some(name) if is_near_role(name) => {
            let near = suggestion(name, ROLES);
            problems.at(ty, format!("`{name}` is not a role of a connector; {near}"));
            None
        }
        _ => Some(Role::Concrete(Box::new(ty.clone()))),
    }
}

/// Returns whether a type's name is a misspelt role, and not the user's connector.
fn is_near_role(name: &str) -> bool {
    slip(name, ROLES).is_some() || ["Input", "Output"].contains(&name)
}

fn services(section: &Entry, problems: &mut Problems) -> Vec<Service> {
    let entries = list(section, "services(openai, crm: CrmService)", problems);
    let mut services = Vec::new();
    for entry in entries {
        if !is_name(&entry.key, problems) {
            continue;
        }
        let of = match &entry.value {
            Value::Nothing | Value::Unreadable => by_convention(&entry.key),
            Value::Typed(Type::TraitObject(object)) => ServiceType::Dyn(object.clone()),
            Value::Typed(ty) => ServiceType::Concrete(Box::new(ty.clone())),
            Value::Is(_) | Value::List(..) => {
                let key = &entry.key;
                problems.at(key, format!("expected `{key}`, `{key}: CrmService` or `{key}: dyn Rates`"));
                by_convention(key)
            }
        };
        services.push(Service { name: entry.key.clone(), of });
    }
    services
}

/// Returns the type of a service without a type: `openai` is an `OpenaiService`.
fn by_convention(name: &Ident) -> ServiceType {
    let ident = Ident::new(&format!("{}Service", camel_case(&name.to_string())), name.span());
    ServiceType::Concrete(Box::new(syn::parse_quote!(#ident)))
}

/// Returns whether a word can be part of a field's name.
fn is_name(ident: &Ident, problems: &mut Problems) -> bool {
    let text = ident.to_string();
    let keyword = syn::parse_str::<Ident>(&text).is_err();
    if keyword || text.starts_with("r#") {
        problems.at(ident, format!("`{text}` is a keyword of Rust; choose another name"));
    }
    !keyword && !text.starts_with("r#")
}

/// Checks that each slot has its own name. A second slot of a name is left out, so that the stand-in has each slot
/// once.
fn keep_first_of_a_name(
    connectors: &mut Vec<Connector>,
    services: &mut Vec<Service>,
    problems: &mut Problems,
) {
    let mut taken = HashSet::new();
    let mut is_first = |name: &Ident| {
        let first = taken.insert(name.to_string());
        if !first {
            let message = format!("`{name}` is named twice; give each connector and service its own name");
            problems.at(name, message);
        }
        first
    };
    connectors.retain(|connector| is_first(&connector.name));
    services.retain(|service| is_first(&service.name));
}

/// Checks that no field of the user has the name of an injected field. Such a field is left out.
fn check_own_fields(
    fields: &mut Vec<OwnField>,
    connectors: &[Connector],
    services: &[Service],
    problems: &mut Problems,
) {
    let mut injected: HashSet<_> = connectors.iter().map(|c| format!("{}_connector", c.name)).collect();
    injected.extend(services.iter().map(|service| format!("{}_service", service.name)));
    injected.extend(["consumer_policy".to_owned(), "producer_policy".to_owned()]);
    fields.retain(|own| {
        let Some(name) = own.field.ident.as_ref().filter(|name| injected.contains(&name.to_string())) else {
            return true;
        };
        problems.at(name, format!("`#[ergon::task]` adds the field `{name}`; remove or rename yours"));
        false
    });
}

/// Checks that a consumer has a source.
fn check_has_source(
    connectors: &[Connector],
    section: Option<&Entry>,
    task: &Ident,
    problems: &mut Problems,
) {
    let has_source = connectors.iter().any(|c| matches!(c.role, Role::Source | Role::Duplex));
    if has_source || !problems.is_empty() {
        return;
    }
    let message = "a consumer needs a source; write `connectors(input)`: the first connector is the source";
    problems.here(section.map_or(task.span(), |section| section.key.span()), message);
}

fn own_fields(fields: Fields, problems: &mut Problems) -> Vec<OwnField> {
    let Fields::Named(fields) = fields else { return Vec::new() };
    fields.named.into_iter().map(|field| own_field(field, problems)).collect()
}

fn own_field(mut field: Field, problems: &mut Problems) -> OwnField {
    let (init, others): (Vec<_>, Vec<_>) =
        field.attrs.into_iter().partition(|attribute| attribute.path().is_ident("init"));
    field.attrs = others;
    if let Some(second) = init.get(1) {
        problems.here(second.span(), "`#[init(…)]` is given twice; keep one of them");
    }
    let init = init.first().and_then(|attribute| problems.keep(attribute.parse_args::<Expr>()));
    OwnField { field, init }
}

/// Turns `OrderProcessor` into `order-processor`.
pub(crate) fn kebab_case(name: &str) -> String {
    let mut kebab = String::new();
    let mut previous_lower = false;
    for c in name.trim_start_matches("r#").chars() {
        if (c.is_uppercase() && previous_lower) || c == '_' {
            kebab.push('-');
        }
        if c != '_' {
            kebab.extend(c.to_lowercase());
        }
        previous_lower = c.is_lowercase() || c.is_ascii_digit();
    }
    kebab
}

/// Turns `order_lines` into `OrderLines`.
pub(crate) fn camel_case(name: &str) -> String {
    let mut camel = String::new();
    let mut upper = true;
    for c in name.chars() {
        if c == '_' {
            upper = true;
        } else if upper {
            camel.extend(c.to_uppercase());
            upper = false;
        } else {
            camel.push(c);
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_convention() {
        assert_eq!(kebab_case("OrderProcessor"), "order-processor");
        assert_eq!(kebab_case("Crm2Sync"), "crm2-sync");
        assert_eq!(camel_case("order_lines"), "OrderLines");
    }
}
