//! A policy as an expression that a person would have written.

use std::time::Duration;

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, Path};

use super::paths::spanned;
use crate::model::{Policy, Setting, SettingValue, Task};

/// `::ergon::ConsumerPolicy { concurrency: 8, ..::ergon::ConsumerPolicy::DEFAULT }`.
pub(super) fn expression(task: &Task, policy: &Policy) -> TokenStream {
    let settings = policy.settings.iter().map(|setting| {
        let key = &setting.key;
        match &setting.value {
            SettingValue::RetryConst(_) => {
                let of_step = constant(task, policy, key);
                quote!(#key: #of_step)
            }
            given => {
                let value = value(&task.ergon, given);
                quote!(#key: #value)
            }
        }
    });
    let name = if policy.role == "consumer" { "ConsumerPolicy" } else { "ProducerPolicy" };
    filled(&task.ergon, name, &settings.collect::<Vec<_>>())
}

/// Each `const RetryPolicy` of the user's under a name of its own, checked by the compiler where it stands.
pub(super) fn constants(task: &Task) -> TokenStream {
    let constants = task.consumer.iter().chain(&task.producer).flat_map(|policy| {
        policy.settings.iter().filter_map(move |setting| {
            let SettingValue::RetryConst(expr) = &setting.value else { return None };
            let (name, ergon) = (constant(task, policy, &setting.key), spanned(&task.ergon, expr.span()));
            Some(quote_spanned! {expr.span()=>
                #[allow(non_upper_case_globals)]
                const #name: #ergon::RetryPolicy = #expr;
                const _: () = #ergon::__private::assert_possible::<
                    #ergon::__private::Checked<{ #ergon::__private::is_possible(&#name) }>,
                >();
            })
        })
    });
    quote!(#(#constants)*)
}

/// The keys that the attribute gives, with dots: `consumer.process.max_attempts`.
pub(super) fn given(task: &Task) -> Vec<String> {
    let mut keys = Vec::new();
    for policy in task.consumer.iter().chain(&task.producer) {
        for setting in &policy.settings {
            let key = format!("{}.{}", policy.role, setting.key);
            match &setting.value {
                SettingValue::Retry(inner) | SettingValue::EmptyQueue(inner) => {
                    keys.extend(inner.iter().map(|setting| format!("{key}.{}", setting.key)));
                }
                _ => keys.push(key),
            }
        }
    }
    keys.extend(task.workers.map(|_| "workers".to_owned()));
    keys
}

/// The fields of a `RetryPolicy`.
pub(super) fn retry(ergon: &Path, settings: &[Setting]) -> TokenStream {
    policy(ergon, "RetryPolicy", settings)
}

fn constant(task: &Task, policy: &Policy, step: &Ident) -> Ident {
    format_ident!("__{}_{}_{}", task.ident, policy.role, step)
}

fn policy(ergon: &Path, name: &str, settings: &[Setting]) -> TokenStream {
    let fields = settings.iter().map(|setting| {
        let (key, value) = (&setting.key, value(ergon, &setting.value));
        quote!(#key: #value)
    });
    filled(ergon, name, &fields.collect::<Vec<_>>())
}

/// A policy with these fields, and the rest as by default.
fn filled(ergon: &Path, name: &str, fields: &[TokenStream]) -> TokenStream {
    let name = format_ident!("{name}");
    if fields.is_empty() {
        quote!(#ergon::#name::DEFAULT)
    } else {
        quote!(#ergon::#name { #(#fields,)* ..#ergon::#name::DEFAULT })
    }
}

fn value(ergon: &Path, value: &SettingValue) -> TokenStream {
    match value {
        SettingValue::Count(count) => number(&Literal::u64_unsuffixed(*count)),
        SettingValue::SomeCount(count) => some(&number(&Literal::u64_unsuffixed(*count))),
        SettingValue::Number(number) => {
            let number = Literal::f64_suffixed(*number);
            quote!(#number)
        }
        SettingValue::Flag(flag) => quote!(#flag),
        SettingValue::Time(time) => duration(*time),
        SettingValue::MaybeTime(Some(time)) => some(&duration(*time)),
        SettingValue::MaybeTime(None) => quote!(::core::option::Option::None),
        SettingValue::Variant(of, variant) => {
            let (of, variant) = (format_ident!("{of}"), format_ident!("{variant}"));
            quote!(#ergon::#of::#variant)
        }
        SettingValue::Slot(slot) => some(&quote!(#ergon::__private::Cow::Borrowed(#slot))),
        SettingValue::EmptyQueue(settings) => policy(ergon, "EmptyQueuePolicy", settings),
        SettingValue::Retry(settings) => policy(ergon, "RetryPolicy", settings),
        SettingValue::RetryConst(expr) => quote!(#expr),
    }
}

fn number(literal: &Literal) -> TokenStream {
    quote!(#literal)
}

fn some(value: &TokenStream) -> TokenStream {
    quote!(::core::option::Option::Some(#value))
}

pub(super) fn duration(time: Duration) -> TokenStream {
    let (seconds, nanos) =
        (Literal::u64_unsuffixed(time.as_secs()), Literal::u32_unsuffixed(time.subsec_nanos()));
    quote!(::core::time::Duration::new(#seconds, #nanos))
}
