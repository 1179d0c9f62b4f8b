//! Checks the rules of `#[ergon::run_fn]`: the keys of the policy, the arguments and the return type.

use ergon_schema::RETRY;
use proc_macro2::TokenStream;
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, FnArg, ItemFn, Lit, Pat, Receiver, ReceiverKind, ReturnType, Type};

use super::keys::names;
use super::policy;
use crate::diagnostics::{Problems, suggestion};
use crate::model::{Argument, RunFn, RunFnPolicy, Setting};
use crate::parse::{Entry, Value, entries, in_type};

const KEYS: [&str; 3] = ["name", "policy", "crate"];

/// Makes the model of a function; `None` if its return type is the mistake.
pub(crate) fn run_fn(attribute: TokenStream, mut function: ItemFn, problems: &mut Problems) -> Option<RunFn> {
    let (own, keys): (Vec<_>, Vec<_>) =
        entries(attribute, problems).into_iter().partition(|entry| KEYS.iter().any(|key| entry.key == key));
    check_keys(&keys, problems);
    let settings = policy::retry(&known(keys), "run_fn", problems);
    check_timeout(&function, &settings, problems);
    let ergon = own_value(&own, "crate", problems).and_then(|entry| super::crate_path(entry, problems));
    let name = own_value(&own, "name", problems).and_then(|entry| name(entry, problems));
    let constant = own_value(&own, "policy", problems);
    let policy = policy_of(constant, settings, problems);
    let returns = returns(&function, problems)?;
    let arguments = arguments(&mut function, problems);
    Some(RunFn {
        ergon: ergon.unwrap_or_else(super::ergon),
        name: name.unwrap_or_else(|| function.sig.ident.to_string()),
        policy,
        arguments,
        returns,
        function,
    })
}

/// Reports unknown keys; the checks of the policy see only the known keys.
fn check_keys(keys: &[Entry], problems: &mut Problems) {
    let all: Vec<_> = names(RETRY).chain(KEYS).collect();
    for entry in keys {
        let name = entry.key.to_string();
        if !all.contains(&name.as_str()) {
            let near = suggestion(&name, all.iter().copied());
            problems.at(&entry.key, format!("`{name}` is not a key of `run_fn`; {near}"));
        }
    }
}

fn known(keys: Vec<Entry>) -> Vec<Entry> {
    keys.into_iter().filter(|entry| names(RETRY).any(|key| entry.key == key)).collect()
}

/// Checks that a plain function has no `timeout`, because nothing can cancel it.
fn check_timeout(function: &ItemFn, settings: &[Setting], problems: &mut Problems) {
    let timeout = settings.iter().find(|setting| setting.key == "timeout");
    if let (None, Some(timeout)) = (&function.sig.asyncness, timeout) {
        let message = "a plain `fn` cannot be cancelled, so it takes no `timeout`; make it `async fn`, or remove `timeout`";
        problems.at(&timeout.key, message);
    }
}

/// Returns the entry of one of the macro's own keys.
fn own_value<'a>(own: &'a [Entry], key: &str, problems: &mut Problems) -> Option<&'a Entry> {
    let mut all = own.iter().filter(|entry| entry.key == key);
    let first = all.next();
    for again in all {
        problems.at(&again.key, format!("`{key}` is given twice; keep one of them"));
    }
    first
}

fn name(entry: &Entry, problems: &mut Problems) -> Option<String> {
    match &entry.value {
        Value::Is(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => return Some(text.value()),
        Value::Unreadable => return None,
        _ => {}
    }
    problems.at(&entry.key, "`name` takes a text in quotes; write `name = \"stock\"`");
    None
}

fn policy_of(constant: Option<&Entry>, settings: Vec<Setting>, problems: &mut Problems) -> RunFnPolicy {
    let Some(entry) = constant else { return RunFnPolicy::Keys(settings) };
    if let Some(setting) = settings.first() {
        let message = format!("`policy` sets every key; remove `{}`, or remove `policy`", setting.key);
        problems.at(&setting.key, message);
    }
    match &entry.value {
        Value::Is(expr) => RunFnPolicy::Expr(Box::new(expr.clone())),
        Value::Unreadable => RunFnPolicy::Keys(settings),
        _ => {
            problems.at(&entry.key, "`policy` takes a `RetryPolicy`; write `policy = A_CONST`");
            RunFnPolicy::Keys(settings)
        }
    }
}

/// Returns the return type. The compiler checks that it is a `Result`; this check rejects types that cannot be a
/// `Result`.
fn returns(function: &ItemFn, problems: &mut Problems) -> Option<Type> {
    let message = "`#[ergon::run_fn]` retries errors, so the function must return `ergon::Result<…>`";
    match &function.sig.output {
        ReturnType::Default => {
            problems.at(&function.sig.ident, message);
            None
        }
        ReturnType::Type(_, ty) => match in_type(ty) {
            Type::Path(_) | Type::Macro(_) | Type::Paren(_) => Some(ty.as_ref().clone()),
            other => {
                problems.here(other.span(), message);
                None
            }
        },
    }
}

/// Checks that every attempt can receive the arguments: each has a name, and none is `&mut`.
fn arguments(function: &mut ItemFn, problems: &mut Problems) -> Vec<Argument> {
    let mut names = Vec::new();
    for argument in &mut function.sig.inputs {
        match argument {
            FnArg::Receiver(Receiver { kind: ReceiverKind::Reference(_, _, None), .. }) => {}
            FnArg::Receiver(receiver) => {
                problems.at(receiver, "every attempt needs `self`; take `&self`");
            }
            FnArg::Typed(typed) => match (typed.pat.as_mut(), in_type(&typed.ty)) {
                (_, Type::Reference(reference)) if reference.mutability.is_some() => {
                    let message = "every attempt needs this argument; take it by value or by `&`, and return the changed value";
                    problems.at(&typed.ty, message);
                }
                (Pat::Ident(pat), _) if pat.by_ref.is_none() && pat.subpat.is_none() => {
                    // The `mut` of an argument moves to the copy of each attempt, because only an attempt changes it.
                    let mutability = pat.mutability.take();
                    let place = typed.ty.span();
                    names.push(Argument { name: pat.ident.clone(), mutability, place });
                }
                (pat, _) => {
                    problems.at(pat, "every attempt needs this argument; write a name instead of a pattern");
                }
            },
        }
    }
    names
}
