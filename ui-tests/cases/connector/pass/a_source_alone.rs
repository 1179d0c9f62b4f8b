#![deny(warnings, missing_docs, clippy::pedantic)]
//! A source, and nothing else.

use ergon::connector::{Connector, ConnectorError, Delivery, FetchRequest};
use ergon::prelude::*;

/// Is always empty.
#[derive(Connector)]
#[connector(source)]
pub struct Never;

impl Source for Never {
    async fn fetch(&self, _request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        Ok(Vec::new())
    }
}

fn main() {
    assert_eq!(Never::KIND, "never");
}
