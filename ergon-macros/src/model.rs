//! The model of each macro's input. The stage `expand` accepts any model, because `validate` makes only valid ones.

use std::time::Duration;

use ergon_schema::{Kind, Value};
use proc_macro2::Span;
use syn::{Attribute, Expr, Field, Generics, Ident, ItemFn, Path, Token, Type, Visibility};

/// A task.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) ergon: Path,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) ident: Ident,
    /// Empty, unless the generics are the mistake.
    pub(crate) generics: Generics,
    pub(crate) name: String,
    pub(crate) connectors: Vec<Connector>,
    pub(crate) services: Vec<Service>,
    pub(crate) fields: Vec<OwnField>,
    pub(crate) form: Form,
    /// The policy of each role; `None` for a role that the task does not have.
    pub(crate) consumer: Option<Policy>,
    pub(crate) producer: Option<Policy>,
    pub(crate) workers: Option<u64>,
    /// Whether the slots and fields are known. A mistake can hide them.
    pub(crate) known: bool,
}

/// The form of a task's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Async,
    Blocking,
    Execute,
}

/// The values that the attribute sets in the policy of one role.
#[derive(Debug)]
pub(crate) struct Policy {
    /// `consumer` or `producer`.
    pub(crate) role: &'static str,
    pub(crate) settings: Vec<Setting>,
}

/// A slot that a connector is wired to.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) name: Ident,
    pub(crate) role: Role,
}

/// The role of a connector in a task.
#[derive(Debug)]
pub(crate) enum Role {
    Source,
    Sink,
    Duplex,
    /// The task calls the connector's own methods.
    Concrete(Box<Type>),
}

/// A service that is injected.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: Ident,
    pub(crate) of: ServiceType,
}

/// The type a service is injected as.
#[derive(Debug)]
pub(crate) enum ServiceType {
    Concrete(Box<Type>),
    Dyn(syn::TypeTraitObject),
}

/// A field that the user wrote.
#[derive(Debug)]
pub(crate) struct OwnField {
    /// Without the `#[init(…)]` attribute.
    pub(crate) field: Field,
    pub(crate) init: Option<Expr>,
}

/// One value of a policy.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The key as the user wrote it.
    pub(crate) key: Ident,
    pub(crate) kind: Kind,
    pub(crate) value: SettingValue,
}

/// A value of a policy.
#[derive(Debug)]
pub(crate) enum SettingValue {
    /// A number, a flag, a duration, a word, the name of a connector, or `"none"`.
    Plain(Value<'static>),
    /// The connector of a slot.
    Slot(String),
    /// The keys of a step or a group.
    Group(Vec<Setting>),
    /// A `const RetryPolicy`.
    Constant(Box<Expr>),
}

/// An `ergon::main!`.
#[derive(Debug)]
pub(crate) struct Main {
    pub(crate) ergon: Path,
    pub(crate) settings: Type,
    pub(crate) tasks: Vec<crate::parse::Wired>,
}

/// A struct whose config is derived.
#[derive(Debug)]
pub(crate) struct DeriveConfig {
    pub(crate) ergon: Path,
    pub(crate) visibility: Visibility,
    pub(crate) ident: Ident,
    pub(crate) fields: Vec<ConfigField>,
    /// The words in the attribute of the struct: `source`, `sink`, ….
    pub(crate) declares: Vec<Ident>,
}

/// A field of a struct whose config is derived.
#[derive(Debug)]
pub(crate) struct ConfigField {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) docs: Vec<Attribute>,
    pub(crate) kind: FieldKind,
}

/// The origin of a field's value.
#[derive(Debug)]
pub(crate) enum FieldKind {
    /// From a key of the config.
    Key,
    /// From a key of the config that has a default.
    KeyOr(Expr),
    /// Built from the config of the service; shared if the field is an `Arc`.
    Service { config: Box<Type>, shared: bool },
    /// With `Default`.
    Skip,
    /// Unknown, because the field's attribute is the mistake.
    Unknown,
}

/// An error whose variants have categories.
#[derive(Debug)]
pub(crate) struct TransactionError {
    pub(crate) ergon: Path,
    pub(crate) ident: Ident,
    /// Each variant, or the struct (none), with its category.
    pub(crate) arms: Vec<(Option<Ident>, Category)>,
    /// Each transparent variant, or the struct (none), with the field that holds the error inside.
    pub(crate) transparent: Vec<(Option<Ident>, Field)>,
}

/// The category of a variant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Category {
    /// `Business`, `System` or `Timeout`.
    pub(crate) name: &'static str,
    pub(crate) retry_after: Option<Duration>,
}

/// A function that `run_fn` retries.
#[derive(Debug)]
pub(crate) struct RunFn {
    pub(crate) ergon: Path,
    pub(crate) function: ItemFn,
    pub(crate) name: String,
    pub(crate) policy: RunFnPolicy,
    /// Its arguments, without `self`.
    pub(crate) arguments: Vec<Argument>,
    /// The return type, as the user wrote it.
    pub(crate) returns: Type,
}

/// An argument, which every attempt receives.
#[derive(Debug)]
pub(crate) struct Argument {
    pub(crate) name: Ident,
    pub(crate) mutability: Option<Token![mut]>,
    /// The span of the argument's type, where the compiler reports that it cannot be cloned.
    pub(crate) place: Span,
}

/// The origin of the function's policy.
#[derive(Debug)]
pub(crate) enum RunFnPolicy {
    Keys(Vec<Setting>),
    /// An expression of type `RetryPolicy`, or a reference to one.
    Expr(Box<Expr>),
}
