// errors: 1
use ergon::prelude::*;

struct Warehouse;

impl Warehouse {
    #[ergon::run_fn(max_attempts = 3)]
    async fn stock(self) -> Result<u32> {
        Ok(1)
    }
}

fn main() {}
