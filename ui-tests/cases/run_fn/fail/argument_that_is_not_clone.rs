// errors: 1
use ergon::prelude::*;

#[ergon::run_fn(max_attempts = 3)]
async fn stock(article: Article) -> Result<u32> {
    Ok(article.0)
}

struct Article(u32);

fn main() {}
