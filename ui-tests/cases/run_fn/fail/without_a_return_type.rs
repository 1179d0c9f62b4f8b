// errors: 1

#[ergon::run_fn(max_attempts = 3)]
async fn stock() {}

fn main() {}
