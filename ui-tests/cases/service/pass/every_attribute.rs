#![deny(warnings, missing_docs, clippy::pedantic)]
//! Every attribute of the derive.

use std::sync::{Arc, Mutex};

use ergon::service::{Service, ServiceConfig};

/// The inner one.
#[derive(Service)]
pub struct Http {
    #[service(default = "https://acme.example".to_owned())]
    url: String,
}

/// The outer one.
#[derive(Service)]
pub struct Crm {
    #[service(service)]
    http: Arc<Http>,
    #[service(default)]
    pages: Option<u32>,
    #[service(skip)]
    cache: Mutex<Vec<String>>,
    key: String,
}

fn main() {
    let config = CrmConfig { http: HttpConfig { url: "here".to_owned() }, pages: None, key: "k".to_owned() };
    let crm = config.build().unwrap();
    assert_eq!((crm.http.url.as_str(), crm.pages, crm.key.as_str()), ("here", None, "k"));
    assert!(crm.cache.lock().unwrap().is_empty());
}
