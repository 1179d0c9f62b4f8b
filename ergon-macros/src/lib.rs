//! The procedural macros of Ergon. Programs use them through the crate `ergon`.
//!
//! Each macro has three stages. The first two report the user's mistakes, so that the third one never fails:
//!
//! | stage | input | output | fails |
//! |---|---|---|---|
//! | `parse` | tokens | syntax | collects each mistake |
//! | `validate` | syntax | a `model`, valid by construction | collects each mistake |
//! | `expand` | the model | tokens | never |
//!
//! After a mistake, a stand-in is generated next to the errors, so that the rest of the user's file still type-checks.

mod diagnostics;
mod expand;
mod model;
mod parse;
mod validate;

use proc_macro::TokenStream;

/// Makes a task of a struct: adds the injected fields, and generates the wiring struct, the policies and `impl Task`.
///
/// | section | default | meaning |
/// |---|---|---|
/// | `name = "order-processor"` | the struct's name in kebab-case | the task's name |
/// | `connectors(input, output, audit: Sink)` | none | a field `input_connector`, … for each connector; the first connector of a consumer is the source, the others are sinks; `: Source`, `: Sink`, `: Duplex` or the type of a connector changes that |
/// | `services(openai, crm: CrmService, rates: dyn Rates)` | none | a field `openai_service: Arc<OpenaiService>`, … for each service |
/// | `consumer(concurrency = 8, …)` | the default policy, unless `producer` is given | the task consumes; the field `consumer_policy` |
/// | `producer(concurrency = 8, …)` | the task does not produce | the task produces; the field `producer_policy`; together with `consumer`, a hybrid |
/// | `workers = 4` | `1` | the number of worker processes |
/// | `blocking` | async | the task implements `BlockingConsumer` or `BlockingProducer`: plain `fn`s on threads |
/// | `execute` | the engine runs the steps | the task implements `Execute`, and runs its loops itself |
/// | `crate = path` | the name in `Cargo.toml` | the path of the crate `ergon` |
///
/// A field of the struct's own starts with its `Default`, or with the value of `#[init(expr)]`.
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::task(attribute.into(), &item.into()).into()
}

/// Runs a function or method as the engine runs a step: with retries and a time limit, and with a panic as an error.
///
/// | key | meaning | default |
/// |---|---|---|
/// | `max_attempts = 3`, `timeout = "5s"`, `backoff = "1s"`, `backoff_multiplier = 2.0`, `backoff_cap = "10s"`, `jitter = 0.1` | the retry policy | one attempt |
/// | `policy = A_CONST` | the whole retry policy: an expression of type `RetryPolicy` | |
/// | `name = "stock"` | the name in log lines | the function's name |
/// | `crate = path` | the path of the crate `ergon` | the name in `Cargo.toml` |
///
/// The function is `async` or plain, and returns `ergon::Result<…>`. Each attempt receives the arguments, so an
/// argument that is taken by value implements `Clone`. A plain function takes no `timeout`, because nothing can cancel
/// it.
#[proc_macro_attribute]
pub fn run_fn(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::run_fn(attribute.into(), &item.into()).into()
}

/// Writes `fn main`: the command line, the settings, the wiring and the runner of a project.
///
/// | key | meaning |
/// |---|---|
/// | `settings: Settings` | the type that `ergon.toml` is read into |
/// | `tasks: [MyTask { input: orders }]` | each task, with a field of the settings for each slot; or a path to a `fn(&Settings) -> Result<TaskConfig>` |
/// | `crate: path` | the path of the crate `ergon` |
#[proc_macro]
pub fn main(input: TokenStream) -> TokenStream {
    expand::main(input.into()).into()
}

/// Implements `Connector`, and makes the connector's config struct and factory.
///
/// | `#[connector(…)]` on the struct | meaning |
/// |---|---|
/// | `source`, `sink`, `count`, `fetch_by_id`, `dead_letters`, `redrive` | the connector implements this trait; `source` or `sink` is required |
/// | `manual` | you write `impl Connector`; the derive makes only the config and the factory |
///
/// | `#[connector(…)]` on a field | meaning |
/// |---|---|
/// | nothing | the field is a key of the config |
/// | `default`, `default = expr` | the key may be left out |
/// | `service` | the field is built from its own config |
/// | `skip` | the field is no key; it is set with `Default` |
#[proc_macro_derive(Connector, attributes(connector))]
pub fn connector(item: TokenStream) -> TokenStream {
    expand::connector(item.into()).into()
}

/// Implements `Service`, and makes the service's config struct and factory, so that a task can have the service
/// injected.
///
/// `#[service(manual)]` on the struct leaves `impl Service` to you. The fields take the same keys as those of
/// `#[derive(Connector)]`, in `#[service(…)]`.
#[proc_macro_derive(Service, attributes(service))]
pub fn service(item: TokenStream) -> TokenStream {
    expand::service(item.into()).into()
}

/// Gives an error a category, so that `?` converts the error into a `TransactionError`.
///
/// | attribute | category |
/// |---|---|
/// | `#[business]` | business: never retried |
/// | `#[system]`, `#[system(retry_after = "5s")]` | system: retried |
/// | `#[timeout]`, `#[timeout(retry_after = "5s")]` | timeout: retried |
/// | `#[transparent]`, on a variant or struct with one field | the category of the error inside |
///
/// Each variant has one attribute. An attribute on the enum is the category of every variant without one.
#[proc_macro_derive(TransactionError, attributes(business, system, timeout, transparent))]
pub fn transaction_error(item: TokenStream) -> TokenStream {
    expand::transaction_error(item.into()).into()
}
