// errors: 1

#[ergon::task(connectors(input))]
fn orders() {}

fn main() {}
