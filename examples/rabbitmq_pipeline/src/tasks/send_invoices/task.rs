//! The business logic.

use ergon::prelude::*;

use crate::schemas::Invoice;

/// The letter to the customer.
#[derive(Debug, Serialize)]
pub(crate) struct Letter {
    to: String,
    text: String,
}

/// Sends one invoice at a time, in the order of the queue.
#[ergon::task(
    connectors(input, output, unsent),
    consumer(streaming, success(max_attempts = 5, backoff = "1s"), dead_letter = unsent)
)]
pub(crate) struct SendInvoices;

impl Consumer for SendInvoices {
    type Payload = Invoice;
    type Output = Letter;

    async fn process_transaction(&self, invoice: &Transaction<Invoice>) -> Result<Letter> {
        let Invoice { order, customer, cents } = invoice.payload();
        let text = format!("Please pay {}.{:02} for order {order}.", cents / 100, cents % 100);
        Ok(Letter { to: customer.clone(), text })
    }

    async fn handle_process_success(&self, invoice: &Transaction<Invoice>, letter: &Letter) -> Result<()> {
        self.output_connector.dispatch(invoice.derive(letter)?).await
    }
}
