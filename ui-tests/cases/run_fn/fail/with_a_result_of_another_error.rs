// errors: 1

#[ergon::run_fn(max_attempts = 3)]
async fn stock() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {}
