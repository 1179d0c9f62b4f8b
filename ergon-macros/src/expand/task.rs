//! Expands `#[ergon::task]`. The page `docs/expansion.md` shows the code that it writes.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Ident;
use syn::spanned::Spanned;

use super::paths::{spanned, variable};
use super::policy;
use crate::model::{Connector, Form, Policy, Role, Service, ServiceType, Task};
use crate::validate::camel_case;

/// Writes the struct with its fields, its name, its wiring and its config.
pub(super) fn expand(task: &Task) -> TokenStream {
    let (item, named, wiring, config) = (item(task), named(task), wiring(task), config(task));
    let (policies, assertions) = (policy::constants(task), assertions(task));
    quote!(#item #named #wiring #policies #config #assertions)
}

/// Writes the struct: the injected fields, then the fields of the user.
pub(super) fn item(task: &Task) -> TokenStream {
    let Task { attributes, visibility, ident, generics, .. } = task;
    let connectors = task.connectors.iter().map(|connector| {
        let (field, ty) = (connector_field(connector), connector_type(task, connector));
        quote!(#[allow(dead_code)] #field: #ty)
    });
    let services = task.services.iter().map(|service| {
        let (field, ty) = (service_field(service), service_type(task, service));
        quote!(#[allow(dead_code)] #field: #ty)
    });
    let policies = policies(task).map(|policy| {
        let (field, ty) = (policy_field(policy), policy_type(task, policy));
        quote!(#[allow(dead_code)] #field: #ty)
    });
    let own = task.fields.iter().map(|own| &own.field);
    let aliases = aliases(task);
    quote! {
        #aliases
        #(#attributes)*
        #visibility struct #ident #generics {
            #(#connectors,)*
            #(#services,)*
            #(#policies,)*
            #(#own,)*
        }
    }
}

/// Names each type that the user wrote for a slot once, so that a type that is not in scope is one error.
fn aliases(task: &Task) -> TokenStream {
    let connectors = task.connectors.iter().filter_map(|connector| match &connector.role {
        Role::Concrete(ty) => Some((&connector.name, ty)),
        Role::Source | Role::Sink | Role::Duplex => None,
    });
    let services = task.services.iter().filter_map(|service| match &service.of {
        ServiceType::Concrete(ty) => Some((&service.name, ty)),
        ServiceType::Dyn(_) => None,
    });
    let aliases = connectors.chain(services).map(|(name, ty)| {
        let alias = alias(task, name);
        quote!(#[allow(non_camel_case_types)] type #alias = #ty;)
    });
    quote!(#(#aliases)*)
}

fn alias(task: &Task, name: &Ident) -> Ident {
    Ident::new(&format!("__{}{}", task.ident, camel_case(&name.to_string())), name.span())
}

/// Asserts that each type that the user wrote for a slot is a connector or a service; the error is at the type.
fn assertions(task: &Task) -> TokenStream {
    let ergon = &task.ergon;
    let connectors = task.connectors.iter().filter_map(|connector| match &connector.role {
        Role::Concrete(ty) => Some((ty.span(), alias(task, &connector.name))),
        Role::Source | Role::Sink | Role::Duplex => None,
    });
    let connectors = connectors.map(|(span, alias)| {
        let alias = Ident::new(&alias.to_string(), span);
        quote_spanned!(span=> const _: () = #ergon::__private::assert_connector::<#alias>();)
    });
    let services = task.services.iter().filter_map(|service| match &service.of {
        ServiceType::Concrete(ty) => Some((ty.span(), alias(task, &service.name))),
        ServiceType::Dyn(_) => None,
    });
    let services = services.map(|(span, alias)| {
        let alias = Ident::new(&alias.to_string(), span);
        quote_spanned!(span=> const _: () = #ergon::__private::assert_service::<#alias>();)
    });
    quote!(#(#connectors)* #(#services)*)
}

/// Writes `impl Task`.
pub(super) fn named(task: &Task) -> TokenStream {
    let Task { ergon, ident, name, .. } = task;
    quote! {
        impl #ergon::__private::Task for #ident {
            const NAME: &'static str = #name;
        }
    }
}

/// Writes the wiring struct: a field for each slot, generic over the config that is wired to the slot.
pub(super) fn wiring(task: &Task) -> TokenStream {
    let Task { visibility, ident, .. } = task;
    let wiring = wiring_ident(task);
    let (names, parameters) = (slot_names(task), parameters(task));
    let doc = format!(" The wiring of [`{ident}`]: a config for each connector and service.");
    let docs = names.iter().map(|name| format!(" The config of `{name}`."));
    quote! {
        #[doc = #doc]
        #visibility struct #wiring<#(#parameters),*> {
            #(#[doc = #docs] #visibility #names: #parameters,)*
        }
    }
}

/// Writes `OrderProcessor::config(wiring)`, with the bounds of roles and services.
fn config(task: &Task) -> TokenStream {
    let Task { ergon, visibility, ident, .. } = task;
    let here = spanned(ergon, ident.span());
    let (wiring, parameters, bounds) = (wiring_ident(task), parameters(task), bounds(task));
    let (role, arguments, outline) = (role(task), arguments(task), outline(task));
    let argument = variable("wiring", ident.span());
    // The whole call has the span of the task's name, so that a missing `impl Consumer` is one error, there.
    let made = quote_spanned! {ident.span()=>
        #here::__private::#role::<#ident, _>(#arguments)#outline
    };
    quote! {
        impl #ident {
            /// Makes the config of the task from its wiring.
            #[allow(clippy::needless_update)]
            #visibility fn config<#(#parameters),*>(#argument: #wiring<#(#parameters),*>) -> #ergon::__private::TaskConfig
            where
                #(#bounds,)*
            {
                #made
            }
        }
    }
}

/// Returns the function that makes the config of a task of this role and form.
fn role(task: &Task) -> Ident {
    let role = match (task.form, &task.consumer, &task.producer) {
        (Form::Execute, ..) => "executor",
        (Form::Async, Some(_), Some(_)) => "hybrid",
        (Form::Async, _, None) => "consumer",
        (Form::Async, None, Some(_)) => "producer",
        (Form::Blocking, Some(_), Some(_)) => "blocking_hybrid",
        (Form::Blocking, _, None) => "blocking_consumer",
        (Form::Blocking, None, Some(_)) => "blocking_producer",
    };
    Ident::new(role, task.ident.span())
}

/// Writes the arguments of that function: the policies, the display of the output, and the construction of the task.
fn arguments(task: &Task) -> TokenStream {
    let build = build(task);
    if task.form == Form::Execute {
        let optional = |policy: &Option<Policy>| match policy {
            Some(policy) => {
                let policy = policy::expression(task, policy);
                quote!(::core::option::Option::Some(#policy))
            }
            None => quote!(::core::option::Option::None),
        };
        let (consumer, producer) = (optional(&task.consumer), optional(&task.producer));
        return quote!(#consumer, #producer, #build);
    }
    let policies = policies(task).map(|policy| policy::expression(task, policy));
    let show = show(task);
    quote!(#(#policies,)* #show, #build)
}

fn policies(task: &Task) -> impl Iterator<Item = &Policy> {
    task.consumer.iter().chain(&task.producer)
}

fn policy_field(policy: &Policy) -> Ident {
    format_ident!("{}_policy", policy.role)
}

fn policy_type(task: &Task, policy: &Policy) -> TokenStream {
    let ergon = &task.ergon;
    if policy.role == "consumer" {
        quote!(#ergon::__private::ConsumerPolicy)
    } else {
        quote!(#ergon::__private::ProducerPolicy)
    }
}

/// Writes the closure that shows the task's output in `process-transaction`.
fn show(task: &Task) -> TokenStream {
    let ergon = spanned(&task.ergon, task.ident.span());
    let output = variable("output", task.ident.span());
    quote_spanned! {task.ident.span()=>
        |#output| {
            #[allow(unused_imports)]
            use #ergon::__private::{ShowAsDebug as _, ShowAsJson as _, ShowNothing as _};
            (&&&#ergon::__private::Shown(#output)).show()
        }
    }
}

/// Writes the closure that builds the task. It builds all parts first, so that every part that fails is reported.
fn build(task: &Task) -> TokenStream {
    let here = task.ident.span();
    let (parts, wiring) = (variable("parts", here), variable("wiring", here));
    let connected = task.connectors.iter().map(|connector| {
        let (name, slot, built) = (&connector.name, connector.name.to_string(), built(&connector.name));
        let method = Ident::new(connector_method(connector), Span::call_site());
        quote!(let #built = #parts.#method(#slot, &#wiring.#name);)
    });
    let served = task.services.iter().map(|service| {
        let (name, slot, built) = (&service.name, service.name.to_string(), built(&service.name));
        quote!(let #built = #parts.service(#slot, &#wiring.#name);)
    });
    let connectors = task.connectors.iter().map(|connector| (connector_field(connector), &connector.name));
    let slots = connectors.chain(task.services.iter().map(|service| (service_field(service), &service.name)));
    let slots = slots.map(|(field, name)| {
        let built = built(name);
        quote!(#field: #built?)
    });
    let policies = policies(task).map(|policy| {
        let field = policy_field(policy);
        quote!(#field: #parts.#field())
    });
    let own = own(task);
    quote_spanned! {here=>
        move |#parts| {
            #(#connected)* #(#served)*
            ::core::option::Option::Some(Self { #(#slots,)* #(#policies,)* #(#own,)* })
        }
    }
}

/// Returns the variable that holds the part of a slot; the suffix keeps it apart from the other variables.
fn built(slot: &Ident) -> Ident {
    variable(&format!("{slot}_slot"), slot.span())
}

/// Writes the first values of the user's fields.
fn own(task: &Task) -> impl Iterator<Item = TokenStream> {
    task.fields.iter().map(|own| {
        let name = &own.field.ident;
        let cfgs = own.field.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg"));
        let span = own.field.ty.span();
        let ergon = spanned(&task.ergon, span);
        let init = own
            .init
            .as_ref()
            .map_or_else(|| quote_spanned!(span=> #ergon::__private::initial()), |init| quote!(#init));
        quote!(#(#cfgs)* #name: #init)
    })
}

/// Writes the calls that describe the slots to the config.
fn outline(task: &Task) -> TokenStream {
    let connectors = task.connectors.iter().map(|connector| {
        let method = format_ident!("__{}", connector_method(connector));
        let (parameter, slot) = (parameter(&connector.name), connector.name.to_string());
        quote!(.#method::<#parameter>(#slot))
    });
    let services = task.services.iter().map(|service| {
        let (parameter, slot) = (parameter(&service.name), service.name.to_string());
        quote!(.__service::<#parameter>(#slot))
    });
    let given = policy::given(task);
    let given = (!given.is_empty()).then(|| quote!(.__given(&[#(#given),*])));
    let workers = task.workers.map(|workers| {
        let workers = Literal::u64_unsuffixed(workers);
        quote!(.__workers(#workers))
    });
    quote_spanned!(task.ident.span()=> #(#connectors)* #(#services)* #given #workers)
}

/// Writes the bound of each slot's config, at the slot's name in the attribute.
fn bounds(task: &Task) -> Vec<TokenStream> {
    let connectors = task.connectors.iter().map(|connector| {
        let (parameter, span) = (parameter(&connector.name), connector.name.span());
        let ergon = spanned(&task.ergon, span);
        match &connector.role {
            Role::Source => quote_spanned!(span=> #parameter: #ergon::__private::SourceConfig),
            Role::Sink => quote_spanned!(span=> #parameter: #ergon::__private::SinkConfig),
            Role::Duplex => quote_spanned!(span=> #parameter: #ergon::__private::DuplexConfig),
            Role::Concrete(_) => {
                let ty = alias(task, &connector.name);
                quote_spanned!(span=> #parameter: #ergon::__private::ConnectorConfig<Connector = #ty>)
            }
        }
    });
    let services = task.services.iter().map(|service| {
        let (parameter, span) = (parameter(&service.name), service.name.span());
        let ergon = spanned(&task.ergon, span);
        match &service.of {
            ServiceType::Concrete(_) => {
                let ty = alias(task, &service.name);
                quote_spanned!(span=> #parameter: #ergon::__private::ServiceConfig<Service = #ty>)
            }
            ServiceType::Dyn(object) => {
                let traits = &object.bounds;
                quote_spanned!(span=> #parameter: #ergon::__private::ServiceConfig<Service: #traits>)
            }
        }
    });
    connectors.chain(services).collect()
}

fn connector_type(task: &Task, connector: &Connector) -> TokenStream {
    let ergon = &task.ergon;
    match &connector.role {
        Role::Source => quote!(#ergon::__private::Input),
        Role::Sink => quote!(#ergon::__private::Output),
        Role::Duplex => quote!(#ergon::__private::Duplex),
        Role::Concrete(_) => {
            let ty = alias(task, &connector.name);
            quote!(::std::sync::Arc<#ty>)
        }
    }
}

fn connector_method(connector: &Connector) -> &'static str {
    match connector.role {
        Role::Source => "source",
        Role::Sink => "sink",
        Role::Duplex => "duplex",
        Role::Concrete(_) => "connector",
    }
}

fn service_type(task: &Task, service: &Service) -> TokenStream {
    match &service.of {
        ServiceType::Concrete(_) => {
            let ty = alias(task, &service.name);
            quote!(::std::sync::Arc<#ty>)
        }
        ServiceType::Dyn(object) => quote!(::std::sync::Arc<#object>),
    }
}

fn connector_field(connector: &Connector) -> Ident {
    format_ident!("{}_connector", connector.name)
}

fn service_field(service: &Service) -> Ident {
    format_ident!("{}_service", service.name)
}

pub(super) fn wiring_ident(task: &Task) -> Ident {
    format_ident!("{}Wiring", task.ident)
}

/// Returns the names of all slots, connectors first.
pub(super) fn slot_names(task: &Task) -> Vec<&Ident> {
    let connectors = task.connectors.iter().map(|connector| &connector.name);
    connectors.chain(task.services.iter().map(|service| &service.name)).collect()
}

/// Returns the type parameter of each slot.
pub(super) fn parameters(task: &Task) -> Vec<Ident> {
    slot_names(task).into_iter().map(parameter).collect()
}

fn parameter(name: &Ident) -> Ident {
    Ident::new(&format!("{}Slot", camel_case(&name.to_string())), name.span())
}
