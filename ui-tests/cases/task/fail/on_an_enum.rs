// errors: 1

#[ergon::task(connectors(input))]
enum Orders { A }

fn main() {}
