// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(output), producer())]
struct Orders;

fn main() {}
