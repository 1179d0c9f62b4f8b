// errors: 1
use ergon::connector::Connector;

#[derive(Connector)]
#[connector(source)]
struct Acme {
    page_size: usize,
}

fn main() {}
