// errors: 1
use ergon::service::Service;

#[derive(Service)]
enum Crm {
    A,
}

fn main() {}
