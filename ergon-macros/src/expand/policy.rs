//! Expands a policy into a struct expression, in the form that a person would write.

use std::time::Duration;

use ergon_schema::{Kind, Value};
use proc_macro2::{Literal, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, Path};

use super::paths::spanned;
use crate::model::{Policy, Setting, SettingValue, Task};

/// Writes `ConsumerPolicy { concurrency: 8, ..ConsumerPolicy::DEFAULT }`, with the path of each name.
pub(super) fn expression(task: &Task, policy: &Policy) -> TokenStream {
    let settings = policy.settings.iter().map(|setting| {
        let key = &setting.key;
        match &setting.value {
            SettingValue::Constant(_) => {
                let of_step = constant(task, policy, key);
                quote!(#key: #of_step)
            }
            given => {
                let value = value(&task.ergon, setting.kind, given);
                quote!(#key: #value)
            }
        }
    });
    let name = if policy.role == "consumer" { "ConsumerPolicy" } else { "ProducerPolicy" };
    filled(&task.ergon, name, &settings.collect::<Vec<_>>())
}

/// Gives each `const RetryPolicy` of the user its own name, and asserts at the user's token that it is valid.
pub(super) fn constants(task: &Task) -> TokenStream {
    let constants = task.consumer.iter().chain(&task.producer).flat_map(|policy| {
        policy.settings.iter().filter_map(move |setting| {
            let SettingValue::Constant(expr) = &setting.value else { return None };
            let (name, ergon) = (constant(task, policy, &setting.key), spanned(&task.ergon, expr.span()));
            Some(quote_spanned! {expr.span()=>
                #[allow(non_upper_case_globals)]
                const #name: #ergon::__private::RetryPolicy = #expr;
                const _: () = #ergon::__private::assert_possible::<
                    #ergon::__private::Checked<{ #ergon::__private::is_possible(&#name) }>,
                >();
            })
        })
    });
    quote!(#(#constants)*)
}

/// Returns the keys that the attribute sets, with dots: `consumer.process.max_attempts`.
pub(super) fn given(task: &Task) -> Vec<String> {
    let mut keys = Vec::new();
    for policy in task.consumer.iter().chain(&task.producer) {
        for setting in &policy.settings {
            let key = format!("{}.{}", policy.role, setting.key);
            match &setting.value {
                SettingValue::Group(inner) => {
                    keys.extend(inner.iter().map(|setting| format!("{key}.{}", setting.key)));
                }
                _ => keys.push(key),
            }
        }
    }
    keys.extend(task.workers.map(|_| "workers".to_owned()));
    keys
}

/// Writes a `RetryPolicy`.
pub(super) fn retry(ergon: &Path, settings: &[Setting]) -> TokenStream {
    policy(ergon, "RetryPolicy", settings)
}

fn constant(task: &Task, policy: &Policy, step: &Ident) -> Ident {
    format_ident!("__{}_{}_{}", task.ident, policy.role, step)
}

fn policy(ergon: &Path, name: &str, settings: &[Setting]) -> TokenStream {
    let fields = settings.iter().map(|setting| {
        let (key, value) = (&setting.key, value(ergon, setting.kind, &setting.value));
        quote!(#key: #value)
    });
    filled(ergon, name, &fields.collect::<Vec<_>>())
}

/// Writes a policy with these fields and the defaults for all others.
fn filled(ergon: &Path, name: &str, fields: &[TokenStream]) -> TokenStream {
    let name = format_ident!("{name}");
    if fields.is_empty() {
        quote!(#ergon::__private::#name::DEFAULT)
    } else {
        quote!(#ergon::__private::#name { #(#fields,)* ..#ergon::__private::#name::DEFAULT })
    }
}

fn value(ergon: &Path, kind: Kind, value: &SettingValue) -> TokenStream {
    match value {
        SettingValue::Plain(value) => plain(ergon, kind, value),
        SettingValue::Slot(slot) => some(&quote!(#ergon::__private::Cow::Borrowed(#slot))),
        SettingValue::Group(settings) => match kind {
            Kind::Group { of, .. } => policy(ergon, of, settings),
            _ => policy(ergon, "RetryPolicy", settings),
        },
        SettingValue::Constant(expr) => quote!(#expr),
    }
}

/// Writes a literal value, in `Some` where the key is optional.
fn plain(ergon: &Path, kind: Kind, value: &Value<'_>) -> TokenStream {
    let tokens = match value {
        Value::Count(count) => Literal::u64_unsuffixed(*count).into_token_stream(),
        Value::Number(number) => Literal::f64_suffixed(*number).into_token_stream(),
        Value::Flag(flag) => quote!(#flag),
        Value::Time(time) => duration(*time),
        Value::Word(word) => variant(ergon, kind, word),
        Value::Absent | Value::Slot(_) | Value::Group(_) => return quote!(::core::option::Option::None),
    };
    let maybe =
        matches!(kind, Kind::Count { maybe: true, .. } | Kind::Time { maybe: true, .. } | Kind::Limit { .. });
    if maybe { some(&tokens) } else { tokens }
}

/// Writes the variant that a word names.
fn variant(ergon: &Path, kind: Kind, word: &str) -> TokenStream {
    let Kind::Word { of, words } = kind else { return TokenStream::new() };
    let variants = words.iter().filter(|known| known.word == word);
    let variants = variants.map(|known| format_ident!("{}", known.variant));
    let of = format_ident!("{of}");
    quote!(#(#ergon::__private::#of::#variants)*)
}

fn some(value: &TokenStream) -> TokenStream {
    quote!(::core::option::Option::Some(#value))
}

pub(super) fn duration(time: Duration) -> TokenStream {
    let (seconds, nanos) =
        (Literal::u64_unsuffixed(time.as_secs()), Literal::u32_unsuffixed(time.subsec_nanos()));
    quote!(::core::time::Duration::new(#seconds, #nanos))
}
