//! The business logic.

use std::time::Duration;

use ergon::prelude::*;

use super::errors::OrderError;
use crate::schemas::{Invoice, Order};

/// The wait before an order that could not be processed is delivered again.
const LATER: Duration = Duration::from_secs(30);

/// Makes an invoice of each order.
#[ergon::task(
    connectors(input, output, refused),
    consumer(
        streaming,
        concurrency = 16,
        batch_size = 16,
        prefetch = 16,
        success(max_attempts = 5, backoff = "1s", backoff_cap = "10s"),
        dead_letter = refused,
    )
)]
pub(crate) struct TakeOrders;

impl Consumer for TakeOrders {
    type Payload = Order;
    type Output = Invoice;

    async fn process_transaction(&self, order: &Transaction<Order>) -> Result<Invoice> {
        Ok(invoice(order.payload())?)
    }

    async fn handle_process_success(&self, order: &Transaction<Order>, invoice: &Invoice) -> Result<()> {
        self.output_connector.dispatch(order.derive(invoice)?).await
    }

    /// Rejects an order that breaks a rule. An order that failed for another reason is delivered again later.
    async fn handle_process_exception(
        &self,
        _: &Transaction,
        error: &TransactionError,
    ) -> Result<Disposition> {
        match error.category() {
            Category::Business => Ok(Disposition::Reject),
            _ => Ok(Disposition::RetryAfter(LATER)),
        }
    }
}

fn invoice(order: &Order) -> Result<Invoice, OrderError> {
    if order.lines.is_empty() {
        return Err(OrderError::Empty);
    }
    if let Some(line) = order.lines.iter().find(|line| line.quantity == 0) {
        return Err(OrderError::NoQuantity { sku: line.sku.clone() });
    }
    let prices = order.lines.iter().map(|line| line.quantity.checked_mul(line.cents));
    let total = prices.into_iter().try_fold(0_u64, |total, price| total.checked_add(price?));
    let cents = total.ok_or(OrderError::TooMuch)?;
    Ok(Invoice { order: order.number.clone(), customer: order.customer.clone(), cents })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schemas::Line;

    fn order(lines: &[(u64, u64)]) -> Order {
        let line = |&(quantity, cents): &(u64, u64)| Line { sku: "desk".into(), quantity, cents };
        Order { number: "A-1".into(), customer: "Ada".into(), lines: lines.iter().map(line).collect() }
    }

    #[test]
    fn an_invoice_has_the_sum_of_all_lines() {
        assert_eq!(invoice(&order(&[(2, 50), (1, 7)])).unwrap().cents, 107);
    }

    #[test]
    fn an_order_that_breaks_a_rule_is_refused_with_the_reason() {
        let why = |lines: &[(u64, u64)]| invoice(&order(lines)).unwrap_err().to_string();
        assert_eq!(why(&[]), "nothing is ordered");
        assert_eq!(why(&[(1, 1), (0, 1)]), "the quantity of `desk` is 0");
        assert_eq!(why(&[(u64::MAX, 2)]), "the total is beyond what an invoice can hold");
    }
}
