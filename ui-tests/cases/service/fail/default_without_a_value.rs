// errors: 1
use ergon::service::Service;

#[derive(Service)]
struct Crm {
    #[service(default())]
    page_size: usize,
}

fn main() {}
