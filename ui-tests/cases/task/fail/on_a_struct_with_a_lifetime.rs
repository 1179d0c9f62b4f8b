// errors: 1

#[ergon::task(connectors(input))]
struct Orders<'a> {
    name: &'a str,
}

fn main() {}
