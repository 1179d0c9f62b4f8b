// errors: 1

#[ergon::task(connectors(output), producer())]
struct Orders;

fn main() {}
