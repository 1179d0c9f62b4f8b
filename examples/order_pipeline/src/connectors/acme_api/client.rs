//! Speaks the protocol of ACME: paths, pages, keys. The HTTP service has the credentials, retries and limits of
//! requests.

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
    /// Places an order. ACME recognizes the key of an order that it already has, so placing the order again has no
    /// effect.
    pub(super) async fn place(&self, key: &str, order: &Value) -> Result<(), HttpError> {
        self.http.post("orders").json(order).idempotency_key(key).send().await?;
        Ok(())
    }

    /// Reads the bookings after a number, at most `size` of them.
    pub(super) async fn page(&self, after: u64, size: usize) -> Result<Page, HttpError> {
        self.http.get("orders").query("after", after).query("limit", size).receive().await
    }
}
