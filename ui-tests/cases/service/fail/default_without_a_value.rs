// errors: 1
use ergon::prelude::*;

#[derive(Service)]
struct Crm {
    #[service(default(3))]
    page_size: usize,
}

fn main() {}
