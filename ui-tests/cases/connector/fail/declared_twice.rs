// errors: 1
use ergon::connector::{Connector, ConnectorError};
use ergon::prelude::*;

#[derive(Connector)]
#[connector(sink, sink)]
struct Api;

impl Sink for Api {
    async fn dispatch(&self, _: Vec<Transaction>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

fn main() {}
