//! Tests the generated code as readable snapshots, and that no input makes a macro panic.

use proc_macro2::{TokenStream, TokenTree};
use proptest::prelude::*;
use quote::quote;

/// Formats the code.
fn readable(tokens: TokenStream) -> String {
    prettyplease::unparse(&syn::parse2(tokens).unwrap())
}

fn task(attribute: TokenStream, item: &TokenStream) -> String {
    readable(super::task(attribute, item))
}

#[test]
fn a_task_with_a_source_and_a_sink() {
    let item = quote! {
        /// Moves orders.
        pub struct OrderProcessor;
    };
    let attribute = quote!(connectors(input, output), consumer(concurrency = 8, batch_size = 100));
    insta::assert_snapshot!(task(attribute, &item));
}

#[test]
fn a_task_with_every_kind_of_slot_and_field() {
    let item = quote! {
        struct Enrich {
            #[init(7)]
            threshold: u32,
            #[cfg(feature = "audit")]
            seen: Vec<String>,
        }
    };
    let attribute = quote!(
        name = "enrich-orders",
        connectors(input, both: Duplex, archive: Excel),
        services(crm, rates: dyn Rates)
    );
    insta::assert_snapshot!(task(attribute, &item));
}

#[test]
fn a_task_with_a_whole_policy() {
    let attribute = quote!(
        connectors(input, dlq),
        consumer(
            streaming,
            limit = 10_000,
            transaction_timeout = "none",
            mode = "batch",
            empty_queue(backoff = "1s"),
            process(max_attempts = 3, backoff = "1s", backoff_cap = "10s", jitter = 0.1),
            exception = constants::HANDLER_RETRY,
            dead_letter = dlq,
            on_handler_failure = "reject"
        )
    );
    insta::assert_snapshot!(task(
        attribute,
        &quote!(
            struct Sync;
        )
    ));
}

fn orders(attribute: TokenStream) -> String {
    task(
        attribute,
        &quote!(
            struct Orders;
        ),
    )
}

#[test]
fn a_task_that_says_nothing_but_its_connectors() {
    insta::assert_snapshot!(orders(quote!(connectors(input))));
}

#[test]
fn a_producer() {
    insta::assert_snapshot!(orders(quote!(
        connectors(output, dlq),
        producer(concurrency = 4, dead_letter = dlq)
    )));
}

#[test]
fn a_hybrid() {
    let attribute = quote!(
        connectors(input, output),
        consumer(batch_size = 10),
        producer(prepare(max_attempts = 3), success = PATIENT),
        workers = 4
    );
    insta::assert_snapshot!(orders(attribute));
}

#[test]
fn a_blocking_consumer() {
    insta::assert_snapshot!(orders(quote!(connectors(input, output), consumer(concurrency = 8), blocking)));
}

#[test]
fn a_blocking_producer() {
    insta::assert_snapshot!(orders(quote!(connectors(output), producer(limit = 10), blocking)));
}

#[test]
fn a_blocking_hybrid() {
    insta::assert_snapshot!(orders(quote!(connectors(input, output), consumer(), producer(), blocking)));
}

#[test]
fn a_task_with_an_execute_of_its_own() {
    insta::assert_snapshot!(orders(quote!(
        connectors(orders, returns: Source),
        consumer(concurrency = 4),
        producer(),
        execute
    )));
}

#[test]
fn a_task_with_services() {
    insta::assert_snapshot!(orders(
        quote!(connectors(input), services(openai, crm: acme::Crm, rates: dyn Rates))
    ));
}

#[test]
fn a_renamed_crate() {
    insta::assert_snapshot!(orders(quote!(
        crate = engine,
        connectors(input),
        consumer(fetch(max_attempts = 5))
    )));
}

#[test]
fn an_async_method_in_an_envelope() {
    let item = quote! {
        /// The stock of an article.
        pub async fn stock(&self, sku: &str, mut count: u32) -> Result<u32> {
            count += 1;
            self.ask(sku, count).await
        }
    };
    insta::assert_snapshot!(readable(super::run_fn(quote!(max_attempts = 3, timeout = "5s"), &item)));
}

#[test]
fn a_plain_function_in_an_envelope() {
    let item = quote! {
        fn parse(text: String) -> Result<u32> {
            text.parse().business()
        }
    };
    insta::assert_snapshot!(readable(super::run_fn(quote!(policy = PATIENT, name = "parse order"), &item)));
}

#[test]
fn a_transparent_error() {
    let item = quote! {
        #[system]
        enum OrderError {
            #[transparent]
            Warehouse(WarehouseError),
            #[business]
            Invalid { sku: String },
            Silent,
        }
    };
    insta::assert_snapshot!(readable(super::transaction_error(item)));
}

#[test]
fn a_stand_in_beside_a_mistake() {
    insta::assert_snapshot!(task(
        quote!(connectors(input), consumer(concurency = 8)),
        &quote!(
            struct Sync;
        )
    ));
}

#[test]
fn a_name_of_which_nothing_is_known() {
    insta::assert_snapshot!(task(
        quote!(connectors(input)),
        &quote!(
            pub enum Orders<'a, T: Clone = u8, const N: usize = 3> {
                First(&'a [T; N]),
            }
        )
    ));
}

#[test]
fn a_program() {
    let input = quote! {
        settings: Settings,
        tasks: [tasks::OrderProcessor { input: orders, output: files.receipts }, tasks::sync::config]
    };
    insta::assert_snapshot!(readable(super::main(input)));
}

#[test]
fn a_connector() {
    let item = quote! {
        #[connector(source, sink, count, redrive)]
        pub struct AcmeApi {
            #[connector(service)]
            client: AcmeClient,
            /// How many rows come at once.
            #[connector(default = 100)]
            page_size: usize,
            #[connector(skip)]
            cursor: Mutex<Cursor>,
        }
    };
    insta::assert_snapshot!(readable(super::connector(item)));
}

#[test]
fn an_error() {
    let item = quote! {
        enum OrderError {
            #[business]
            Invalid(String),
            #[system(retry_after = "5s")]
            Warehouse { cause: WarehouseError },
        }
    };
    insta::assert_snapshot!(readable(super::transaction_error(item)));
}

/// Writes nested keys with a value: `process(max_attempts = 3)`.
fn nested(path: &str, value: &str) -> String {
    let mut keys = path.rsplit('.');
    // A slot is a name in the attribute, and a text in the settings.
    let value = if ["from", "dead_letter"].contains(&path) { value.trim_matches('"') } else { value };
    let innermost = format!("{} = {value}", keys.next().unwrap());
    keys.fold(innermost, |inner, key| format!("{key}({inner})"))
}

/// Expands a task whose role has this key.
fn with_key(role: &str, path: &str, value: &str) -> String {
    let attribute = format!("connectors(input: Source, other: Source, dlq), {role}({})", nested(path, value));
    let item = quote!(
        struct Sync;
    );
    super::task(attribute.parse().unwrap(), &item).to_string()
}

#[test]
fn the_attribute_takes_every_key_and_checks_its_value() {
    for (role, keys) in [("consumer", ergon_schema::CONSUMER), ("producer", ergon_schema::PRODUCER)] {
        for sample in ergon_schema::sample::samples(keys) {
            let path = &sample.path;
            let made = with_key(role, path, &sample.value);
            assert!(made.contains(&format!("\"{role}.{path}\"")), "{path}: {made}");
            for (value, rule) in sample.refused.iter().filter(|(value, _)| !value.starts_with('-')) {
                let made = with_key(role, path, value);
                let said = format!("`{}` {rule}", sample.key.name);
                assert!(made.contains("compile_error") && made.contains(&said), "{said}: {made}");
            }
        }
    }
}

/// Returns the first two code blocks of `docs/expansion.md`.
fn documented() -> (String, String) {
    let page = include_str!("../../../docs/expansion.md");
    let mut blocks = page.split("```").skip(1).step_by(2);
    let mut next = || blocks.next().unwrap().strip_prefix("rust\n").unwrap().to_owned();
    (next(), next())
}

#[test]
fn the_page_on_what_an_attribute_becomes_shows_what_it_becomes() {
    let (from, shown) = documented();
    let mut item: syn::ItemStruct = syn::parse_str(&from).unwrap();
    let attribute = item.attrs.remove(0).meta.require_list().unwrap().tokens.clone();
    let becomes = task(attribute, &quote!(#item));
    assert_eq!(shown, becomes, "docs/expansion.md should show:\n{becomes}");
}

/// Returns correct attributes and items, which the tests break.
fn seeds() -> Vec<(TokenStream, TokenStream)> {
    let items = [
        quote!(
            pub struct A;
        ),
        quote!(
            struct A {
                #[init(1)]
                a: u8,
                b: Vec<u8>,
            }
        ),
    ];
    let attributes = [
        quote!(name = "a-b", connectors(input, output: Sink, x: Excel), services(crm, r: dyn Rates)),
        quote!(
            connectors(input, dlq),
            consumer(concurrency = 8, process(max_attempts = 3, backoff = "1s"), dead_letter = dlq)
        ),
        quote!(connectors(a, b: Duplex), consumer(from = b, streaming, mode = "batch", exception = C, timeout = "1h")),
        quote!(connectors(a), producer(limit = 3, prepare(jitter = 0.5)), consumer(), workers = 4, blocking),
        quote!(crate = e, connectors(a), consumer(dead_letter = a, empty_queue(backoff = "1s")), execute),
    ];
    attributes.iter().flat_map(|a| items.iter().map(|i| (a.clone(), i.clone()))).collect()
}

/// Deletes, doubles or swaps a token, at any depth.
fn mutated(tokens: TokenStream, steps: &mut impl Iterator<Item = u8>) -> TokenStream {
    let mut trees: Vec<TokenTree> = tokens.into_iter().collect();
    let (Some(at), Some(what)) = (steps.next(), steps.next()) else { return trees.into_iter().collect() };
    let Some(at) = usize::from(at).checked_rem(trees.len()) else { return TokenStream::new() };
    match (what % 5, trees[at].clone()) {
        (0, _) => drop(trees.remove(at)),
        (1, tree) => trees.insert(at, tree),
        (2, _) => {
            let other = usize::from(what) % trees.len();
            trees.swap(at, other);
        }
        (_, TokenTree::Group(group)) => {
            let inside = mutated(group.stream(), steps);
            trees[at] = proc_macro2::Group::new(group.delimiter(), inside).into();
        }
        _ => (),
    }
    trees.into_iter().collect()
}

/// Breaks tokens in three places.
fn mutate(tokens: &mut TokenStream, steps: &mut impl Iterator<Item = u8>) {
    for _ in 0..3 {
        *tokens = mutated(std::mem::take(tokens), steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn whatever_function_goes_in_something_that_parses_comes_out(
        steps in proptest::collection::vec(any::<u8>(), 0..24),
        in_item in any::<bool>(),
        method in any::<bool>(),
    ) {
        let mut attribute = quote!(max_attempts = 3, timeout = "5s", policy = P, name = "x", crate = e);
        let mut item = quote!(async fn f(a: &str, (b, c): (u8, u8), mut d: Vec<u8>) -> Result<u8> { g(a)?; Ok(b) });
        if method {
            item = quote!(pub(crate) fn f<T: Clone>(&self, a: T) -> Result<T, E> where T: Send { self.g(a) });
        }
        let mut steps = steps.into_iter();
        let broken = if in_item { &mut item } else { &mut attribute };
        mutate(broken, &mut steps);
        let out = super::run_fn(attribute, &item);
        let parses = syn::parse2::<syn::File>(out.clone()).is_ok();
        prop_assert!(parses || out.to_string().contains("compile_error"), "{out}");
    }

    #[test]
    fn whatever_a_derive_is_put_on_something_that_parses_comes_out(
        steps in proptest::collection::vec(any::<u8>(), 0..24),
        error in any::<bool>(),
    ) {
        let mut item = quote! {
            #[connector(source, sink, count)] #[service(manual)]
            struct A { #[connector(service)] a: Arc<B>, #[service(default = 3)] b: u8, #[connector(skip)] c: C }
        };
        if error {
            item = quote! {
                #[system(retry_after = "5s")]
                enum E { #[business] A(u8), #[transparent] B { #[from] b: B }, #[timeout] C, D }
            };
        }
        mutate(&mut item, &mut steps.into_iter());
        for made in [super::connector(item.clone()), super::service(item.clone()), super::transaction_error(item)] {
            prop_assert!(syn::parse2::<syn::File>(made.clone()).is_ok(), "{made}");
        }
    }

    #[test]
    fn whatever_goes_in_something_that_parses_comes_out(
        seed in 0_usize..10,
        steps in proptest::collection::vec(any::<u8>(), 0..24),
        in_item in any::<bool>(),
    ) {
        let (mut attribute, mut item) = seeds().swap_remove(seed);
        let mut steps = steps.into_iter();
        let broken = if in_item { &mut item } else { &mut attribute };
        mutate(broken, &mut steps);
        let out = super::task(attribute, &item);
        // An item that does not parse as Rust is returned unchanged, next to the error.
        let parses = syn::parse2::<syn::File>(out.clone()).is_ok();
        prop_assert!(parses || out.to_string().contains("compile_error"), "{out}");
        let program = quote!(settings: S, tasks: [A { a: b, c: d.e }, x::y], crate: ergon);
        let made = super::main(mutated(program, &mut steps));
        prop_assert!(syn::parse2::<syn::File>(made.clone()).is_ok(), "{made}");
        for made in [super::connector(item.clone()), super::service(item.clone()), super::transaction_error(item)] {
            prop_assert!(syn::parse2::<syn::File>(made.clone()).is_ok(), "{made}");
        }
    }
}
