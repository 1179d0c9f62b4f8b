// errors: 1
use ergon::connector::Connector;

#[derive(Connector)]
#[connector(sink)]
struct Acme {
    page_size: usize,
}

fn main() {}
