// errors: 1
use ergon::prelude::*;

#[ergon::run_fn(backoff = "soon")]
async fn stock() -> Result<u32> {
    Ok(1)
}

fn main() {}
