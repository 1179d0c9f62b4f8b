// errors: 1
use ergon::prelude::*;

#[derive(Service)]
enum Crm {
    A,
}

fn main() {}
