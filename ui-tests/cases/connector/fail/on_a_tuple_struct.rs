// errors: 1
use ergon::prelude::*;

#[derive(Connector)]
#[connector(source)]
struct Api(String);

fn main() {}
