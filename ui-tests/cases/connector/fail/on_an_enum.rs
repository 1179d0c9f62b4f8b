// errors: 1
use ergon::connector::Connector;

#[derive(Connector)]
#[connector(source)]
enum Acme {
    A,
}

fn main() {}
