// errors: 1

#[ergon::task(connectors(input))]
struct Orders;

fn main() {}
