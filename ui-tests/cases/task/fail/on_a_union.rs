// errors: 1

#[ergon::task(connectors(input))]
union Orders { a: u8 }

fn main() {}
