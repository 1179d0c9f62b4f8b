// errors: 1
use ergon::prelude::*;

#[ergon::task(connectors(input))]
enum Orders { A }

fn main() {}
