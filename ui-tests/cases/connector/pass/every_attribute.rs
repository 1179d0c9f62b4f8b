#![deny(warnings, missing_docs, clippy::pedantic)]
//! Every attribute of the derive.

use std::sync::{Arc, Mutex};

use ergon::connector::prelude::*;
use ergon::prelude::*;
use ergon::service::{Service, ServiceConfig};

/// Talks to Acme.
#[derive(Service)]
pub struct AcmeClient {
    /// The address of Acme.
    url: String,
}

/// Adapts Acme.
#[derive(Connector)]
#[connector(source, sink, count, fetch_by_id, dead_letters, redrive)]
pub struct AcmeApi {
    #[connector(service)]
    client: AcmeClient,
    #[connector(service)]
    shared: Arc<AcmeClient>,
    #[connector(default = 100)]
    page_size: usize,
    #[connector(default = 7)]
    r#type: u32,
    name: String,
    #[connector(skip)]
    cursor: Mutex<u64>,
}

impl Source for AcmeApi {
    async fn fetch(&self, _request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        Ok(Vec::new())
    }
}

impl Sink for AcmeApi {
    async fn dispatch(&self, _transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

impl Count for AcmeApi {
    async fn count(&self) -> Result<u64, ConnectorError> {
        Ok(0)
    }
}

impl FetchById for AcmeApi {
    async fn fetch_by_id(&self, _id: &str) -> Result<Option<Delivery>, ConnectorError> {
        Ok(None)
    }
}

impl DeadLetters for AcmeApi {
    async fn visit(&self, _visitor: &mut dyn DeadLetterVisitor) -> Result<(), ConnectorError> {
        Ok(())
    }
}

impl Redrive for AcmeApi {
    async fn redrive(&self, _transaction: Transaction) -> Result<(), ConnectorError> {
        Ok(())
    }
}

/// Implements `Connector` by hand.
#[derive(Connector)]
#[connector(source, manual)]
pub struct ByHand {
    #[connector(default)]
    opened: u32,
}

impl Connector for ByHand {
    const KIND: &'static str = "by-hand";

    async fn open(&self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn capabilities(&self) -> Capabilities<'_> {
        Capabilities::none().count(self)
    }
}

impl Source for ByHand {
    async fn fetch(&self, _request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        Ok(Vec::new())
    }
}

impl Count for ByHand {
    async fn count(&self) -> Result<u64, ConnectorError> {
        Ok(self.opened.into())
    }
}

fn main() {
    let client = AcmeClientConfig { url: "https://acme.example".to_owned() };
    assert_eq!(client.build().unwrap().url, "https://acme.example");
    let config = AcmeApiConfig { client: client.clone(), shared: client, page_size: 7, r#type: 8, name: "a".to_owned() };
    assert_eq!(config.r#type, 8);
    let api = config.build(&Context::new("task", "input")).unwrap();
    assert_eq!((api.page_size + api.r#type as usize, api.name.as_str(), api.client.url == api.shared.url), (15, "a", true));
    assert_eq!(ByHandConfig { opened: 3 }.build(&Context::new("task", "input")).unwrap().opened, 3);
    assert_eq!((AcmeApi::KIND, *api.cursor.lock().unwrap()), ("acme-api", 0));
    assert!(!format!("{config:?}").contains("acme.example"), "a config shows no values");
}
