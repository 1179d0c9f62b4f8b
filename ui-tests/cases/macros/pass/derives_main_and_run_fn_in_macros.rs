// Macros that write connectors, services, errors, retried functions and the program itself.
use std::sync::{Arc, Mutex};

use ergon::connector::{Connector, ConnectorError, Delivery, FetchRequest};
use ergon::prelude::*;
use ergon::service::Service;

macro_rules! client {
    ($name:ident { $url:ident: $url_ty:ty = $default:expr }) => {
        #[derive(Service)]
        pub struct $name {
            #[service(default = $default)]
            $url: $url_ty,
        }
    };
}

macro_rules! adapter {
    ($(#[$meta:meta])* $name:ident, $client:ident: $client_ty:ty, $shared:ident: $inner:ty, $count:ident: $count_ty:ty = $default:expr, $skip:ty) => {
        $(#[$meta])*
        #[derive(Connector)]
        #[connector(source, sink)]
        pub struct $name {
            #[connector(service)]
            $client: $client_ty,
            #[connector(service)]
            $shared: Arc<$inner>,
            #[connector(default = $default)]
            $count: $count_ty,
            #[connector(skip)]
            cursor: $skip,
        }

        impl Source for $name {
            async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
                let mut cursor = self.cursor.lock().map_err(|_| ConnectorError::permanent("lost"))?;
                *cursor += self.$count + request.max() + self.$client.url.len() + self.$shared.url.len();
                Ok(Vec::new())
            }
        }

        impl Sink for $name {
            async fn dispatch(&self, _transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
                Ok(())
            }
        }
    };
}

client!(AcmeClient { url: String = "https://acme.example".to_owned() });
adapter! {
    /// Adapts Acme.
    Acme, client: AcmeClient, other: AcmeClient, page_size: usize = 100, Mutex<usize>
}

macro_rules! failures {
    ($name:ident { $wrong:ident($text:ty), $down:ident after $wait:literal, $inner:ident($inner_ty:ty) }) => {
        #[derive(Debug, thiserror::Error, TransactionError)]
        pub enum $name {
            #[error("order {0} is wrong")]
            #[business]
            $wrong($text),
            #[error("the warehouse is silent")]
            #[system(retry_after = $wait)]
            $down,
            #[error(transparent)]
            #[transparent]
            $inner(#[from] $inner_ty),
        }
    };
}

#[derive(Debug, thiserror::Error, TransactionError)]
#[error("no part")]
#[timeout]
pub struct PartError;

failures!(OrderError { Wrong(String), Down after "5s", Part(PartError) });

const PATIENT: RetryPolicy = RetryPolicy { max_attempts: 5, ..RetryPolicy::DEFAULT };

macro_rules! tried {
    ($name:ident($argument:ident: $ty:ty) -> $output:ty, $attempts:literal, $backoff:expr, $policy:expr, $body:expr) => {
        #[ergon::run_fn(max_attempts = $attempts, backoff = $backoff)]
        async fn $name($argument: $ty) -> $output {
            std::future::ready(()).await;
            $body
        }

        mod blocking {
            use super::*;

            #[ergon::run_fn(policy = $policy, name = "blocking")]
            pub(super) fn $name($argument: $ty) -> $output {
                $body
            }
        }
    };
}

tried!(parse(text: &str) -> Result<u32>, 3, "1s", PATIENT, text.parse().business());

macro_rules! program {
    ($settings:ident { $($key:ident: $config:ty),* }, $($task:ident { $($slot:ident: $field:ident),* } $body:block),*) => {
        $(
            #[ergon::task(connectors($($slot),*))]
            struct $task;

            impl Consumer for $task {
                type Payload = String;
                type Output = u32;

                async fn process_transaction(&self, text: &Transaction<String>) -> Result<u32> {
                    if text.payload().is_empty() $body
                    blocking::parse(text.payload())?;
                    parse(text.payload()).await
                }
            }
        )*

        #[derive(Deserialize)]
        struct $settings {
            $($key: $config),*
        }

        fn by_hand(settings: &$settings) -> Result<TaskConfig, ergon::Error> {
            Ok(ByHand::config(ByHandWiring { input: settings.orders.clone() }))
        }

        ergon::main! {
            settings: $settings,
            tasks: [$($task { $($slot: $field),* },)* by_hand],
        }
    };
}

#[ergon::task(connectors(input), blocking)]
struct ByHand;

impl BlockingConsumer for ByHand {
    type Payload = String;
    type Output = u32;

    fn process_transaction(&self, text: &Transaction<String>) -> Result<u32> {
        blocking::parse(text.payload())
    }
}

#[allow(dead_code)]
mod written {
    use super::*;

    program! {
        Settings { orders: MemoryConfig, acme: AcmeConfig },
        ParseOrders { input: orders, output: acme } { return Err(OrderError::Down.into()); },
        ParseOthers { input: acme } { return Err(OrderError::Wrong("empty".to_owned()).into()); }
    }
}

fn main() {}
