// errors: 1
use ergon::connector::Connector;

#[derive(Connector)]
struct Acme {
    page_size: usize,
}

fn main() {}
