// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input))]
union Orders { a: u8 }

fn main() {}
