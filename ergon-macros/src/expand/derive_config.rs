//! Expands `#[derive(Connector)]` and `#[derive(Service)]` into the config struct, its factory and the trait impl.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::Ident;

use crate::model::{ConfigField, DeriveConfig, FieldKind};
use crate::validate::{CAPABILITIES, kebab_case};

/// Writes `impl Connector` unless the user writes it, the assertions of the roles, the config and the factory.
pub(super) fn connector(model: &DeriveConfig) -> TokenStream {
    let DeriveConfig { ergon, ident, .. } = model;
    let implementation = (!declares(model, "manual")).then(|| connector_impl(model));
    let (assertions, config) = (assertions(model), config(model));
    let (config_ident, build) =
        (config_ident(model), build(model, &quote!(#ergon::__private::ConnectorError)));
    let check = check_inner(model, &quote!(#ergon::__private::ConnectorError));
    quote! {
        #implementation
        #assertions
        #config
        impl #ergon::__private::ConnectorConfig for #config_ident {
            type Connector = #ident;

            fn build(&self, _: &#ergon::__private::Context) -> ::core::result::Result<#ident, #ergon::__private::ConnectorError> {
                #build
            }

            #check
        }
    }
}

/// Writes `impl Service`, the config and the factory.
pub(super) fn service(model: &DeriveConfig) -> TokenStream {
    let DeriveConfig { ergon, ident, .. } = model;
    let manual = declares(model, "manual");
    let implementation = (!manual).then(|| quote!(impl #ergon::__private::Service for #ident {}));
    let (config, config_ident) = (config(model), config_ident(model));
    let build = build(model, &quote!(#ergon::__private::ServiceError));
    let check = check_inner(model, &quote!(#ergon::__private::ServiceError));
    quote! {
        #implementation
        #config
        impl #ergon::__private::ServiceConfig for #config_ident {
            type Service = #ident;

            fn build(&self) -> ::core::result::Result<#ident, #ergon::__private::ServiceError> {
                #build
            }

            #check
        }
    }
}

fn declares(model: &DeriveConfig, word: &str) -> bool {
    model.declares.iter().any(|declared| declared == word)
}

fn connector_impl(model: &DeriveConfig) -> TokenStream {
    let DeriveConfig { ergon, ident, declares, .. } = model;
    let kind = kebab_case(&ident.to_string());
    let capabilities =
        declares.iter().filter(|word| CAPABILITIES.iter().any(|capability| word == capability));
    quote! {
        impl #ergon::__private::Connector for #ident {
            const KIND: &'static str = #kind;

            fn capabilities(&self) -> #ergon::__private::Capabilities<'_> {
                #ergon::__private::Capabilities::none()#(.#capabilities(self))*
            }
        }
    }
}

/// Asserts that each declared role is implemented; the error is at the word that declares the role.
fn assertions(model: &DeriveConfig) -> TokenStream {
    let DeriveConfig { ergon, ident, declares, .. } = model;
    let roles = declares.iter().filter_map(|word| {
        let assertion = match word.to_string().as_str() {
            "source" => format_ident!("assert_source", span = word.span()),
            "sink" => format_ident!("assert_sink", span = word.span()),
            _ => return None,
        };
        Some(quote_spanned!(word.span()=> const _: () = #ergon::__private::#assertion::<#ident>();))
    });
    quote!(#(#roles)*)
}

fn config_ident(model: &DeriveConfig) -> Ident {
    format_ident!("{}Config", model.ident)
}

/// Writes the config: a public field for each key. Its `Debug` shows no value, because a value can be a secret.
fn config(model: &DeriveConfig) -> TokenStream {
    let DeriveConfig { ergon, visibility, ident, fields, .. } = model;
    let (config, doc) =
        (config_ident(model), format!(" The config of [`{ident}`], which the settings are read into."));
    let serde = format!("{}::__private::serde", quote!(#ergon)).replace(' ', "");
    let keys = fields.iter().filter_map(|field| config_field(model, field));
    let defaults = fields.iter().filter_map(default_fn);
    quote! {
        #[doc = #doc]
        #[derive(::core::clone::Clone, #ergon::__private::serde::Deserialize)]
        #[serde(crate = #serde, deny_unknown_fields)]
        #visibility struct #config { #(#keys,)* }

        impl #config { #(#defaults)* }

        impl ::core::fmt::Debug for #config {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(::core::stringify!(#config)).finish_non_exhaustive()
            }
        }
    }
}

fn config_field(model: &DeriveConfig, field: &ConfigField) -> Option<TokenStream> {
    let ConfigField { ident, ty, docs, kind } = field;
    let undocumented = format!(" The key `{ident}`.");
    let docs = if docs.is_empty() { quote!(#[doc = #undocumented]) } else { quote!(#(#docs)*) };
    match kind {
        FieldKind::Skip | FieldKind::Unknown => None,
        FieldKind::Key => Some(quote!(#docs pub #ident: #ty)),
        FieldKind::Service { config, .. } => Some(quote!(#docs pub #ident: #config)),
        FieldKind::KeyOr(_) => {
            let default = format!("{}::{}", config_ident(model), default_ident(ident));
            Some(quote!(#docs #[serde(default = #default)] pub #ident: #ty))
        }
    }
}

fn default_ident(field: &Ident) -> Ident {
    // Not `{field}`, because a raw name would keep its `r#` in the middle.
    format_ident!("default_{}", field)
}

fn default_fn(field: &ConfigField) -> Option<TokenStream> {
    let ConfigField { ident, ty, kind, .. } = field;
    let FieldKind::KeyOr(default) = kind else { return None };
    let name = default_ident(ident);
    Some(quote!(fn #name() -> #ty { #default }))
}

/// Writes the check of the services in the fields, one after the other; `None` without such fields.
fn check_inner(model: &DeriveConfig, error: &TokenStream) -> Option<TokenStream> {
    let DeriveConfig { ergon, ident, fields, .. } = model;
    let asked: Vec<TokenStream> = fields
        .iter()
        .filter_map(|field| {
            let FieldKind::Service { config, .. } = &field.kind else { return None };
            let name = &field.ident;
            Some(quote! {
                #ergon::__private::check_service::<#config, #error>(::core::stringify!(#name), &this.#name).await?;
            })
        })
        .collect();
    (!asked.is_empty()).then(|| {
        quote! {
            async fn check_inner(this: &#ident) -> ::core::result::Result<(), #error> {
                #(#asked)*
                ::core::result::Result::Ok(())
            }
        }
    })
}

/// Writes the expression that builds the struct from its config.
fn build(model: &DeriveConfig, error: &TokenStream) -> TokenStream {
    let DeriveConfig { ergon, ident, fields, .. } = model;
    let built = fields.iter().map(|field| {
        let name = &field.ident;
        let value = match &field.kind {
            FieldKind::Skip => quote!(::core::default::Default::default()),
            FieldKind::Unknown => quote!(#ergon::__private::stand_in()),
            FieldKind::Key | FieldKind::KeyOr(_) => quote!(::core::clone::Clone::clone(&self.#name)),
            FieldKind::Service { shared, .. } => {
                let service = quote! {
                    #ergon::__private::service::<_, #error>(::core::stringify!(#name), &self.#name)?
                };
                if *shared { quote!(::std::sync::Arc::new(#service)) } else { service }
            }
        };
        quote!(#name: #value)
    });
    quote!(::core::result::Result::Ok(#ident { #(#built,)* }))
}
