// errors: 1
use ergon::prelude::*;

#[ergon::run_fn(max_attempts = 3)]
async fn stock() {}

fn main() {}
