// errors: 1
use ergon::connector::prelude::*;
use ergon::prelude::*;

#[derive(Connector)]
#[connector(source, count, manual)]
struct Clock {}

impl Connector for Clock {
    const KIND: &'static str = "clock";
}

impl Source for Clock {
    async fn fetch(&self, _request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        Ok(Vec::new())
    }
}

impl Count for Clock {
    async fn count(&self) -> Result<u64, ConnectorError> {
        Ok(0)
    }
}

fn main() {}
