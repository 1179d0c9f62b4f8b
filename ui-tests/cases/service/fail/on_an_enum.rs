// errors: 1
use ergon::prelude::*;
use ergon::service::Service;

#[derive(Service)]
enum Crm {
    A,
}

fn main() {}
