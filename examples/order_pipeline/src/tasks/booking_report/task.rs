//! The business logic: passes each booking on unchanged.

use ergon::prelude::*;

use crate::connectors::acme_api::Booking;
use crate::tasks::constants::HAND_ON;

/// Writes one booking after the other, in ACME's order.
#[ergon::task(
    connectors(acme, output, unread),
    consumer(batch_size = 100, prefetch = 100, success = HAND_ON, dead_letter = unread)
)]
pub(crate) struct BookingReport;

impl Consumer for BookingReport {
    type Payload = Booking;
    type Output = ();

    async fn process_transaction(&self, _: &Transaction<Booking>) -> Result<()> {
        Ok(())
    }

    async fn handle_process_success(&self, booking: &Transaction<Booking>, (): &()) -> Result<()> {
        self.output_connector.dispatch(booking.forward()).await
    }
}
