// errors: 1

#[ergon::run_fn(max_attempts = 3)]
async fn stock(sku: &str) -> u32 {
    sku.len() as u32
}

fn main() {}
