// errors: 1
use ergon::prelude::*;

#[derive(Connector)]
struct Acme {
    page_size: usize,
}

fn main() {}
