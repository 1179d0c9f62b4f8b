//! Tests every rule of a connector, with ACME as lists in this process.

use ergon::connector::ConnectorConfig;
use ergon::prelude::*;
use ergon::testing::conformance::{self, Capabilities, Fixture};

use super::service::AcmeApiClientConfig;
use super::AcmeApiConfig;

struct Lists;

impl Fixture for Lists {
    type Config = AcmeApiConfig;

    async fn filled(&self, place: &str, transactions: Vec<Transaction>) -> AcmeApiConfig {
        let client = AcmeApiClientConfig { url: place.to_owned() };
        let config = AcmeApiConfig { client, page_size: 100 };
        let connector = config.build(&ergon::connector::Context::new("test", "output")).unwrap();
        connector.dispatch(transactions).await.unwrap();
        config
    }

    async fn contents(&self, config: &AcmeApiConfig) -> Vec<Transaction> {
        conformance::read(config).await.unwrap()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { metadata: false, binary: false, shared: false, ..Capabilities::default() }
    }
}

#[tokio::test]
async fn a_generated_connector_keeps_the_rules() {
    conformance::duplex(&Lists).await;
}
