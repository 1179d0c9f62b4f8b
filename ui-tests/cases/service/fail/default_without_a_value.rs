// errors: 1
use ergon::prelude::*;

#[derive(Service)]
struct Crm {
    #[service(default())]
    page_size: usize,
}

fn main() {}
