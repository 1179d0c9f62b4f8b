// errors: 1
use ergon::connector::Connector;

#[derive(Connector)]
#[connector(source)]
struct Api<T> {
    url: T,
}

fn main() {}
