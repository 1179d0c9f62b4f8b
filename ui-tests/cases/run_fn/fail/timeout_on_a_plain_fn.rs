// errors: 1
use ergon::prelude::*;

#[ergon::run_fn(timeout = "5s")]
fn stock() -> Result<u32> {
    Ok(1)
}

fn main() {}
