// errors: 1
use ergon::connector::{Connector, ConnectorError, Delivery, FetchRequest};
use ergon::prelude::*;

#[derive(Connector)]
#[connector(source)]
struct Acme(String);

impl Source for Acme {
    async fn fetch(&self, _request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        Ok(Vec::new())
    }
}
#[derive(Deserialize)]
struct Settings {
    acme: AcmeConfig,
}

fn url(settings: &Settings) -> &str {
    &settings.acme.url
}

fn main() {
    let _ = url;
}
