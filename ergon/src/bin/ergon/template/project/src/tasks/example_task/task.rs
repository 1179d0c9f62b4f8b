//! The business logic.

use ergon::prelude::*;

use super::errors::OrderError;
use super::helpers::{pieces, total};
use super::schemas::{Order, Receipt};
use crate::tasks::constants::{MOST_PIECES, REMOTE};
use crate::tasks::helpers::{filled, money};

/// Prices one order at a time.
#[ergon::task(
    connectors(input, output, refused),
    consumer(concurrency = 8, batch_size = 100, success = REMOTE, dead_letter = refused)
)]
pub(crate) struct ExampleTask;

impl Consumer for ExampleTask {
    type Payload = Order;
    type Output = Receipt;

    async fn process_transaction(&self, order: &Transaction<Order>) -> Result<Receipt> {
        Ok(price(order.payload())?)
    }

    async fn handle_process_success(
        &self,
        order: &Transaction<Order>,
        receipt: &Receipt,
    ) -> Result<()> {
        self.output_connector.dispatch(order.derive(receipt)?).await
    }
}

fn price(order: &Order) -> Result<Receipt, OrderError> {
    filled("id", &order.id)?;
    let pieces = pieces(&order.items);
    match pieces {
        0 => Err(OrderError::NoItems),
        pieces if pieces > MOST_PIECES => Err(OrderError::TooManyPieces {
            pieces,
            most: MOST_PIECES,
        }),
        pieces => Ok(Receipt {
            order_id: order.id.clone(),
            customer: order.customer.clone(),
            pieces,
            total: money(total(&order.items)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use ergon::connector::ConnectorError;
    use ergon::testing::{self, Fault, Script};

    use super::*;
    use crate::tasks::schemas::Item;

    fn order(quantity: u32) -> Order {
        let items = vec![Item {
            sku: "pen".into(),
            quantity,
            unit_price: 150,
        }];
        Order {
            id: "A-1".into(),
            customer: "Ada".into(),
            items,
        }
    }

    #[test]
    fn the_total_is_that_of_all_pieces() {
        let receipt = price(&order(3)).unwrap();
        assert_eq!((receipt.pieces, receipt.total.as_str()), (3, "4.50"));
    }

    #[test]
    fn what_breaks_a_rule_is_refused_with_the_reason() {
        assert_eq!(
            price(&order(0)).unwrap_err().to_string(),
            "the order has no items"
        );
        let nameless = Order {
            id: String::new(),
            ..order(1)
        };
        assert_eq!(price(&nameless).unwrap_err().to_string(), "`id` is empty");
    }

    /// The clock is paused, so the waits of the policy take no time.
    #[tokio::test(start_paused = true)]
    async fn a_sink_that_fails_once_is_tried_again() {
        let (input, output, refused) = (Script::new(), Script::new(), Script::new());
        input.push_json("good", &order(2));
        input.push_json("bad", &order(9_999));
        output.on_dispatch(
            1,
            Fault::Fails(ConnectorError::transient("the disk is full")),
        );

        let wiring = ExampleTaskWiring {
            input: input.clone(),
            output: output.clone(),
            refused: refused.clone(),
        };
        let report = testing::run(ExampleTask::config(wiring)).await.unwrap();

        assert_eq!((report.tally.succeeded, report.tally.rejected), (1, 1));
        assert_eq!(output.dispatched_as::<Receipt>().len(), 1);
        assert_eq!(refused.dispatched()[0].id(), "bad");
    }
}
