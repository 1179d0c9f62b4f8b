// errors: 1
use ergon::connector::Connector;

#[derive(Connector)]
#[connector(source)]
struct Api(String);

fn main() {}
