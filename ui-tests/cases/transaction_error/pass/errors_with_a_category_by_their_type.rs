// A plain `?` in a handler, `#[transparent]`, and the override of a category.
use ergon::prelude::*;

#[ergon::task(connectors(input))]
struct Read;

impl Consumer for Read {
    type Payload = String;
    type Output = u32;

    async fn process_transaction(&self, path: &Transaction<String>) -> Result<u32> {
        let bytes = std::fs::read(path.payload())?;
        let text = std::str::from_utf8(&bytes)?;
        let owned = String::from_utf8(bytes.clone())?;
        let waited = tokio::time::timeout(std::time::Duration::from_secs(1), async { owned.len() }).await?;
        let _number: f64 = text.parse()?;
        let _address: std::net::IpAddr = text.parse()?;
        let _short = u8::try_from(waited)?;
        std::fs::write(path.payload(), text).business()?;
        Ok(text.parse::<u32>()?)
    }
}

#[derive(Debug, thiserror::Error, TransactionError)]
enum ReadError {
    #[error(transparent)]
    #[transparent]
    File(#[from] std::io::Error),
    #[error(transparent)]
    #[transparent]
    Inner(#[from] TransactionError),
}

fn main() {
    let gone = ReadError::from(std::io::Error::from(std::io::ErrorKind::NotFound));
    assert_eq!(TransactionError::from(gone).category(), Category::System);
    let wrong = ReadError::from(TransactionError::business("wrong"));
    assert_eq!(TransactionError::from(wrong).category(), Category::Business);
}
