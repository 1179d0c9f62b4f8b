// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input))]
struct Orders<T> { t: T }

fn main() {}
