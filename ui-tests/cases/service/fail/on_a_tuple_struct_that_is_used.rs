// errors: 1
use ergon::prelude::*;
use ergon::service::Service;

#[derive(Service)]
struct Acme(String);

#[ergon::task(connectors(input), services(acme: Acme))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

fn config(settings: &Settings, input: MemoryConfig) -> TaskConfig {
    Orders::config(OrdersWiring { input, acme: settings.acme.clone() })
}
#[derive(Deserialize)]
struct Settings {
    acme: AcmeConfig,
}

fn url(settings: &Settings) -> &str {
    &settings.acme.url
}

fn main() {
    let _ = (url, config);
}
