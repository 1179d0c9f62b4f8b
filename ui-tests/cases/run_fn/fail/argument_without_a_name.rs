// errors: 1
use ergon::prelude::*;

#[ergon::run_fn(max_attempts = 3)]
async fn stock((sku, count): (String, u32)) -> Result<u32> {
    drop(sku);
    Ok(count)
}

fn main() {}
