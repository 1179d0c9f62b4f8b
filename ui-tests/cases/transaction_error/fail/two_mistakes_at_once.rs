// errors: 2
#[derive(Debug, thiserror::Error, ergon::TransactionError)]
enum OrderError {
    #[error("invalid")]
    Invalid,
    #[error("down")]
    Down,
}

fn main() {}
