//! How ACME is talked to: paths, pages, keys. Credentials, retries and limits of requests are the HTTP service's.

use ergon::prelude::*;
use ergon::service::Service;

use super::schemas::Page;

/// The protocol of ACME.
#[derive(Debug, Service)]
pub(crate) struct AcmeClient {
    #[service(service)]
    http: HttpService,
}

impl AcmeClient {
    /// Places an order. ACME knows the key of an order that it has had before, so placing it again does nothing.
    pub(super) async fn place(&self, key: &str, order: &Value) -> Result<(), HttpError> {
        self.http.post("orders").json(order).idempotency_key(key).send().await?;
        Ok(())
    }

    /// Reads the bookings after a number, at most `size` of them.
    pub(super) async fn page(&self, after: u64, size: usize) -> Result<Page, HttpError> {
        self.http.get("orders").query("after", after).query("limit", size).receive().await
    }
}
