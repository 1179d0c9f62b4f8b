// errors: 1
use ergon::prelude::*;

#[derive(Connector)]
#[connector(source)]
struct Api<T> {
    url: T,
}

fn main() {}
