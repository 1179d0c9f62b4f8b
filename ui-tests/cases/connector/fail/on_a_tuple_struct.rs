// errors: 1
use ergon::connector::Connector;
use ergon::prelude::*;

#[derive(Connector)]
#[connector(source)]
struct Api(String);

fn main() {}
