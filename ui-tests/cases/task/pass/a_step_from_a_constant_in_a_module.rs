use ergon::prelude::*;

#[ergon::task(connectors(input), consumer(process = policies::PATIENT, fetch = RetryPolicy::DEFAULT))]
struct Orders;

mod policies {
    use ergon::policy::RetryPolicy;

    pub const PATIENT: RetryPolicy = RetryPolicy { max_attempts: 5, ..RetryPolicy::DEFAULT };
}

impl Consumer for Orders {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

fn main() {}
