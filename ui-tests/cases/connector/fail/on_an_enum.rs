// errors: 1
use ergon::connector::Connector;
use ergon::prelude::*;

#[derive(Connector)]
#[connector(source)]
enum Acme {
    A,
}

fn main() {}
