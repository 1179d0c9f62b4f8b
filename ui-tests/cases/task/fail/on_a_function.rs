// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input))]
fn orders() {}

fn main() {}
