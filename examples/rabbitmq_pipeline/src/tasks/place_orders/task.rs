//! The business logic: there is next to none.

use ergon::prelude::*;

/// What an order is known by; the rest of it goes on as it stands.
#[derive(Debug, Deserialize)]
pub(crate) struct Numbered {
    number: String,
}

/// Places one order after the other.
#[ergon::task(
    connectors(input, output, refused),
    consumer(success(max_attempts = 5, backoff = "1s"), dead_letter = refused)
)]
pub(crate) struct PlaceOrders;

impl Consumer for PlaceOrders {
    type Payload = Numbered;
    type Output = Transaction;

    /// The order's number becomes the message's id: an order that is placed twice has the same id both times.
    async fn process_transaction(&self, order: &Transaction<Numbered>) -> Result<Transaction> {
        let whole: Value = order.decode()?;
        Transaction::new(order.payload().number.as_str(), &whole)
    }

    async fn handle_process_success(&self, _: &Transaction<Numbered>, order: &Transaction) -> Result<()> {
        self.output_connector.dispatch(order.clone()).await
    }
}
