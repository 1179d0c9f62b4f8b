// errors: 1
use ergon::prelude::*;

#[derive(Service)]
struct Crm {
    #[service(defualt = 3)]
    size: usize,
}

fn main() {}
