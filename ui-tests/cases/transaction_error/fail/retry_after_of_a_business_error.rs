// errors: 1
#[derive(Debug, thiserror::Error, ergon::TransactionError)]
enum OrderError {
    #[error("invalid")]
    #[business(retry_after = "5s")]
    Invalid,
}

fn main() {}
