//! A policy as an expression that a person would have written.

use std::time::Duration;

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};
use syn::Path;

use crate::model::{Setting, SettingValue};

/// `::ergon::ConsumerPolicy { concurrency: 8, ..::ergon::ConsumerPolicy::DEFAULT }`.
pub(super) fn consumer(ergon: &Path, settings: &[Setting]) -> TokenStream {
    policy(ergon, "ConsumerPolicy", settings)
}

fn policy(ergon: &Path, name: &str, settings: &[Setting]) -> TokenStream {
    let name = format_ident!("{name}");
    if settings.is_empty() {
        return quote!(#ergon::#name::DEFAULT);
    }
    let fields = settings.iter().map(|setting| {
        let (key, value) = (&setting.key, value(ergon, &setting.value));
        quote!(#key: #value)
    });
    quote!(#ergon::#name { #(#fields,)* ..#ergon::#name::DEFAULT })
}

fn value(ergon: &Path, value: &SettingValue) -> TokenStream {
    match value {
        SettingValue::Count(count) => number(Literal::u64_unsuffixed(*count)),
        SettingValue::SomeCount(count) => some(&number(Literal::u64_unsuffixed(*count))),
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
        SettingValue::RetryConst(expr) => quote!(const { #ergon::__private::checked(#expr) }),
    }
}

fn number(literal: Literal) -> TokenStream {
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
