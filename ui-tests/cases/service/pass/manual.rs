use ergon::prelude::*;
use ergon::service::{Service, ServiceConfig, ServiceError};

#[derive(Service)]
#[service(manual)]
struct Crm {
    #[service(skip)]
    calls: u32,
}

impl Service for Crm {
    async fn open(&self) -> Result<(), ServiceError> {
        let _ = self.calls;
        Ok(())
    }
}

fn main() {
    let _ = CrmConfig {}.build();
}
