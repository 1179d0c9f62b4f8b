// errors: 1
use ergon::service::Service;

#[derive(Service)]
struct Crm {
    #[service(defualt = 3)]
    size: usize,
}

fn main() {}
