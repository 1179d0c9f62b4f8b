// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input))]
struct Orders<'a> {
    name: &'a str,
}

fn main() {}
