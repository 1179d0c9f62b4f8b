#![deny(warnings, missing_docs, clippy::pedantic)]
//! Async and plain functions and methods.

use ergon::prelude::*;

const PATIENT: RetryPolicy = RetryPolicy { max_attempts: 5, ..RetryPolicy::DEFAULT };

/// Holds articles.
pub struct Warehouse {
    stock: u32,
    retry: RetryPolicy,
}

impl Warehouse {
    /// The stock of an article.
    ///
    /// # Errors
    /// The article is sold out.
    #[ergon::run_fn(max_attempts = 3, backoff = "1s", timeout = "5s", name = "stock")]
    pub async fn stock(&self, sku: &str, mut count: u32) -> Result<u32> {
        std::future::ready(()).await;
        count += 1;
        self.stock.checked_sub(count).ok_or_else(|| TransactionError::business(format!("no {sku}")))
    }

    #[ergon::run_fn(policy = self.retry)]
    async fn name<'a>(&self, sku: &'a str, owned: String) -> Result<&'a str> {
        drop(owned);
        if sku.is_empty() {
            return Err(TransactionError::system("no name"));
        }
        Ok(sku)
    }
}

#[ergon::run_fn(policy = PATIENT)]
fn parse(text: &str) -> Result<u32> {
    let number: u32 = text.parse().business()?;
    Ok(number)
}

#[ergon::run_fn(policy = &PATIENT)]
async fn generic<T: Clone + Into<u64> + Send>(number: T) -> Result<u64, TransactionError> {
    Ok(number.into())
}

#[ergon::run_fn]
async fn nothing_said() -> Result<()> {
    Ok(())
}

fn main() {
    let warehouse = Warehouse { stock: 3, retry: PATIENT };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        assert_eq!(warehouse.stock("A-1", 1).await.unwrap(), 1);
        assert_eq!(warehouse.name("A-1", String::new()).await.unwrap(), "A-1");
        assert_eq!(generic(7_u32).await.unwrap(), 7);
        nothing_said().await.unwrap();
    });
    assert_eq!(parse("7").unwrap(), 7);
    assert!(parse("seven").is_err());
}
