// errors: 1
#[derive(Debug, thiserror::Error, ergon::TransactionError)]
enum OrderError {
    #[error("down")]
    #[system(retry_after = "5 sheep")]
    Down,
}

fn main() {}
