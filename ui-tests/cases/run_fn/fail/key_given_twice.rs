// errors: 1
use ergon::prelude::*;

#[ergon::run_fn(max_attempts = 2, max_attempts = 3)]
async fn stock() -> Result<u32> {
    Ok(1)
}

fn main() {}
