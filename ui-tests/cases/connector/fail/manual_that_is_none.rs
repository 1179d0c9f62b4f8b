// errors: 2
use ergon::connector::{Connector, ConnectorError, Delivery, FetchRequest};
use ergon::prelude::*;


#[derive(Connector)]
#[connector(source, manual)]
struct Clock {}

impl Source for Clock {
    async fn fetch(&self, _request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        Ok(Vec::new())
    }
}

fn main() {}
