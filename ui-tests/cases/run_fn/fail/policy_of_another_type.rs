// errors: 1
use ergon::prelude::*;

#[ergon::run_fn(policy = 3)]
async fn stock() -> Result<u32> {
    Ok(1)
}

fn main() {}
