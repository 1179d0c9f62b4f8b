// errors: 1

#[ergon::run_fn(max_attempts = 3)]
struct Stock;

fn main() {}
