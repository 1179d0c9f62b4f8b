// errors: 1
#[derive(Debug, thiserror::Error, ergon::TransactionError)]
enum OrderError {
    #[error("invalid")]
    #[business]
    Invalid,
    #[error("down")]
    Down,
}

fn main() {}
