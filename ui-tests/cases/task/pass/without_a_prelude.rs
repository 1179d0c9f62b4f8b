#![no_implicit_prelude]

use ::ergon::{Consumer, Result, Transaction};

#[::ergon::task(connectors(input, output), consumer(process(max_attempts = 3), dead_letter = output))]
struct Orders {
    own: ::std::primitive::u8,
}

impl Consumer for Orders {
    type Payload = ::std::string::String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<::std::string::String>) -> Result<()> {
        let _ = self.own;
        ::std::result::Result::Ok(())
    }
}

#[derive(Debug, ::thiserror::Error, ::ergon::TransactionError)]
#[system(retry_after = "1s")]
#[error("down")]
struct Down;

#[derive(::ergon::Service)]
struct Crm {
    #[service(default = 1)]
    size: ::std::primitive::u8,
}

fn main() {
    let _ = (Down, Crm { size: 1 }.size);
}
