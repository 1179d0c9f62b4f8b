// errors: 1
use ergon::connector::{Connector, ConnectorError};
use ergon::prelude::*;

#[derive(Connector)]
#[connector(sink)]
struct Api {
    #[connector(skip, default = 3)]
    size: usize,
}

impl Sink for Api {
    async fn dispatch(&self, _: Vec<Transaction>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

fn main() {}
