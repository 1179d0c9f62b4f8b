// errors: 1
use ergon::prelude::*;

#[derive(Connector)]
#[connector(source)]
struct Acme {
    page_size: usize,
}

fn main() {}
