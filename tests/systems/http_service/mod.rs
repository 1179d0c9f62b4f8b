//! Tests the HTTP service against a server that answers correctly, late, wrongly, too much, or not at all.

mod errors;
mod guide;
mod program;
mod requests;
mod retries;
mod secrets;

use std::error::Error as _;
use std::time::Duration;

use ergon::prelude::*;
use ergon::service::{Service, ServiceConfig};
use ergon_tests::web::Server;

/// A service without waits between attempts, so that a test is quick.
fn config(server: &Server) -> HttpConfig {
    let mut config = HttpConfig::new(server.url());
    config.retry = RetryPolicy { backoff: Duration::ZERO, ..config.retry };
    config
}

fn service(server: &Server) -> HttpService {
    config(server).build().unwrap()
}

/// An error with its causes and its hint.
fn told(error: &HttpError) -> String {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    format!("{error} | {cause} | {}", error.hint().unwrap_or_default())
}
