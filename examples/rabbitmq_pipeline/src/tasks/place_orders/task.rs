//! The business logic: passes each order on unchanged, under its own number.

use ergon::prelude::*;

/// The number that identifies an order. The rest of the order is passed on unchanged.
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

    /// The order's number becomes the message's id, so that an order that is placed twice has the same id both times.
    async fn process_transaction(&self, order: &Transaction<Numbered>) -> Result<Transaction> {
        let whole: Value = order.decode()?;
        Transaction::new(order.payload().number.as_str(), &whole)
    }

    async fn handle_process_success(&self, _: &Transaction<Numbered>, order: &Transaction) -> Result<()> {
        self.output_connector.dispatch(order.clone()).await
    }
}
