// errors: 1
use ergon::prelude::*;
use ergon::service::Service;

#[derive(Service)]
struct Crm {
    #[service(defualt = 3)]
    size: usize,
}

fn main() {}
