use ergon::prelude::*;
use ergon::service::Service;

#[ergon::task(connectors(input), services(crm: Crm), consumer(process = PATIENT))]
struct First;

impl Consumer for First {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

#[ergon::task(connectors(input), services(crm: Crm), consumer(process = PATIENT))]
struct Second;

impl Consumer for Second {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _order: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

#[derive(Service)]
struct Crm;

const PATIENT: RetryPolicy = RetryPolicy { max_attempts: 2, ..RetryPolicy::DEFAULT };

fn main() {}
