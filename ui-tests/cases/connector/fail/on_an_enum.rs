// errors: 1
use ergon::prelude::*;

#[derive(Connector)]
#[connector(source)]
enum Acme {
    A,
}

fn main() {}
