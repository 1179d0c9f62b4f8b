// errors: 1

#[ergon::task(connectors(input))]
struct Orders<T> { t: T }

fn main() {}
