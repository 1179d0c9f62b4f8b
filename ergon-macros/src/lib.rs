//! The procedural macros of Ergon; used through the `ergon` crate.
//!
//! What a user writes goes through four stages, a folder or file each: `parse` reads syntax only, `validate` turns
//! it into a `model` that is valid by construction and collects every mistake, `expand` turns the model into
//! tokens and cannot fail. After a mistake, a stand-in comes out beside the errors, so that the rest of the user's
//! file still type-checks.

mod diagnostics;
mod expand;
mod model;
mod parse;
mod validate;

use proc_macro::TokenStream;

/// Makes a task of a struct: adds the injected fields, and generates the wiring struct, the policies and `impl Task`.
///
/// | section | says |
/// |---|---|
/// | `name = "order-processor"` | the task's name; default: the struct's name in kebab-case |
/// | `connectors(input, output, audit: Sink)` | a field `input_connector`, … each; the first is the source, the others are sinks, unless `: Source`, `: Sink`, `: Duplex` or a connector's own type says otherwise |
/// | `services(openai, crm: CrmService, rates: dyn Rates)` | a field `openai_service: Arc<OpenaiService>`, … each |
/// | `consumer(concurrency = 8, …)` | it consumes; the policy; a field `consumer_policy`. Where neither this nor `producer` is given, a consumer with the default policy |
/// | `producer(concurrency = 8, …)` | it produces; the policy; a field `producer_policy`. Beside `consumer`: a hybrid |
/// | `workers = 4` | how many worker processes run it |
/// | `blocking` | it implements `BlockingConsumer`, `BlockingProducer`: plain `fn`s, on threads |
/// | `execute` | it implements `Execute`: its own `async fn execute` says what is consumed and produced, and when |
/// | `crate = path` | where `ergon` is, if it is renamed |
///
/// Own fields are set with `Default`, or with `#[init(expr)]`.
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::task(attribute.into(), &item.into()).into()
}

/// Runs a function or method in the envelope of an attempt: retried, limited in time, guarded against panics, as the
/// steps of a task are.
///
/// | key | says | default |
/// |---|---|---|
/// | `max_attempts = 3`, `timeout = "5s"`, `backoff = "1s"`, `backoff_multiplier = 2.0`, `backoff_cap = "10s"`, `jitter = 0.1` | the retry policy | one attempt |
/// | `policy = A_CONST` | the whole policy at once: any expression of type `RetryPolicy` | |
/// | `name = "stock"` | what log lines call it | the function's name |
/// | `crate = path` | where `ergon` is, if it is renamed | |
///
/// The function is `async` or plain and returns `ergon::Result<…>`. Each attempt is given the arguments again, so what
/// is taken by value is `Clone`. A plain function takes no `timeout`: nothing can stop it from outside.
#[proc_macro_attribute]
pub fn run_fn(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::run_fn(attribute.into(), &item.into()).into()
}

/// Writes `fn main`: the command line, the settings, the wiring and the runner of a project.
///
/// `tasks` takes `Task { slot: settings_field, … }`, or a path to a `fn(&Settings) -> Result<TaskConfig>`.
#[proc_macro]
pub fn main(input: TokenStream) -> TokenStream {
    expand::main(input.into()).into()
}

/// Implements `Connector`, and makes the connector's config struct and factory.
///
/// `#[connector(source, sink, count, fetch_by_id, dead_letters, redrive)]` on the struct declares what it implements.
/// With `manual`, `impl Connector` is yours, and only config and factory are derived.
/// On a field: `#[connector(service)]` builds it from its own config, `#[connector(default = expr)]` gives its key a
/// default, `#[connector(skip)]` sets it with `Default`.
#[proc_macro_derive(Connector, attributes(connector))]
pub fn connector(item: TokenStream) -> TokenStream {
    expand::connector(item.into()).into()
}

/// Implements `Service`, and makes the service's config struct and factory, so that it can be injected.
///
/// `#[service(manual)]` on the struct leaves `impl Service` to you. Fields as with `Connector`, under
/// `#[service(…)]`.
#[proc_macro_derive(Service, attributes(service))]
pub fn service(item: TokenStream) -> TokenStream {
    expand::service(item.into()).into()
}

/// Gives an error a category, so that `?` turns it into a `TransactionError`.
///
/// Each variant has one of `#[business]`, `#[system]`, `#[timeout]`; the last two take `(retry_after = "5s")`. One on
/// the whole type holds for the variants without. `#[transparent]` on a variant with one field gives it the category
/// of the error inside.
#[proc_macro_derive(TransactionError, attributes(business, system, timeout, transparent))]
pub fn transaction_error(item: TokenStream) -> TokenStream {
    expand::transaction_error(item.into()).into()
}
