// errors: 1
use ergon::service::Service;

#[derive(Service)]
union Crm {
    a: u32,
    b: f32,
}

fn main() {}
