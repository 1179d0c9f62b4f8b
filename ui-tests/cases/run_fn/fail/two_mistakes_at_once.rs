// errors: 2
use ergon::prelude::*;

#[ergon::run_fn(max_attempts = 0, jitter = 2.0)]
async fn stock() -> Result<u32> {
    Ok(1)
}

fn main() {}
