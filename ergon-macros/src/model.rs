//! The models of the macros' inputs, valid by construction.

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
    /// None, unless they are the mistake.
    pub(crate) generics: Generics,
    pub(crate) name: String,
    pub(crate) connectors: Vec<Connector>,
    pub(crate) services: Vec<Service>,
    pub(crate) fields: Vec<OwnField>,
    pub(crate) form: Form,
    /// The policy of each role; a role that the task has not has none.
    pub(crate) consumer: Option<Policy>,
    pub(crate) producer: Option<Policy>,
    pub(crate) workers: Option<u64>,
    /// Whether it is known which slots and fields the user means; always, unless that is the mistake.
    pub(crate) known: bool,
}

/// How a task's code is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Async,
    Blocking,
    Execute,
}

/// What the attribute says of one role's policy.
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

/// What the task uses a connector for.
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

/// A field of the user's own.
#[derive(Debug)]
pub(crate) struct OwnField {
    /// Without the `#[init(…)]` attribute.
    pub(crate) field: Field,
    pub(crate) init: Option<Expr>,
}

/// One value of a policy.
#[derive(Debug)]
pub(crate) struct Setting {
    /// As it is written.
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
    /// What the struct declares about itself: `source`, `sink`, ….
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

/// How a field is set.
#[derive(Debug)]
pub(crate) enum FieldKind {
    /// From a key of the config.
    Key,
    /// From a key of the config that has a default.
    KeyOr(Expr),
    /// Built from a config of its own; shared if the field is an `Arc`.
    Service { config: Box<Type>, shared: bool },
    /// With `Default`.
    Skip,
    /// It is the mistake.
    Unknown,
}

/// An error whose variants have categories.
#[derive(Debug)]
pub(crate) struct TransactionError {
    pub(crate) ergon: Path,
    pub(crate) ident: Ident,
    /// A variant, or the whole struct, and what it is.
    pub(crate) arms: Vec<(Option<Ident>, Category)>,
    /// Variants (or the whole struct) that have the category of the one error inside: its field.
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
    /// What it returns, as it is written.
    pub(crate) returns: Type,
}

/// An argument that every attempt is given.
#[derive(Debug)]
pub(crate) struct Argument {
    pub(crate) name: Ident,
    pub(crate) mutability: Option<Token![mut]>,
    /// The span of its type: the error that it cannot be cloned is reported there.
    pub(crate) place: Span,
}

/// Where the policy of the function comes from.
#[derive(Debug)]
pub(crate) enum RunFnPolicy {
    Keys(Vec<Setting>),
    /// An expression of type `RetryPolicy`, or a reference to one.
    Expr(Box<Expr>),
}
