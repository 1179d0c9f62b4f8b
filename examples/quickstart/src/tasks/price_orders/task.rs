//! The business logic.

use ergon::prelude::*;

use super::errors::OrderError;
use super::schemas::{OrderLine, Receipt};

/// The highest discount that needs no approval.
const HIGHEST_DISCOUNT: f64 = 0.5;

/// Prices one order line at a time.
#[ergon::task(
    connectors(input, output, refused),
    consumer(concurrency = 8, batch_size = 100, prefetch = 100, dead_letter = refused)
)]
pub(crate) struct PriceOrders;

impl Consumer for PriceOrders {
    type Payload = OrderLine;
    type Output = Receipt;

    async fn process_transaction(&self, line: &Transaction<OrderLine>) -> Result<Receipt> {
        Ok(price(line.payload())?)
    }

    async fn handle_process_success(&self, line: &Transaction<OrderLine>, receipt: &Receipt) -> Result<()> {
        self.output_connector.dispatch(line.derive(receipt)?).await
    }
}

fn price(line: &OrderLine) -> Result<Receipt, OrderError> {
    if line.discount > HIGHEST_DISCOUNT {
        return Err(OrderError::DiscountTooHigh { discount: line.discount, most: HIGHEST_DISCOUNT });
    }
    if line.quantity == 0 {
        return Err(OrderError::NothingOrdered);
    }
    Ok(Receipt {
        row_id: line.row_id,
        order_id: line.order_id.clone(),
        order_date: line.order_date.clone(),
        customer_id: line.customer_id.clone(),
        product_id: line.product_id.clone(),
        quantity: line.quantity,
        sales: line.sales,
        list_price: line.sales / (1.0 - line.discount),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(discount: f64) -> OrderLine {
        OrderLine {
            row_id: 1,
            order_id: "CA-1".into(),
            order_date: "2016-11-08".into(),
            customer_id: "CG-1".into(),
            product_id: "FUR-1".into(),
            quantity: 2,
            sales: 50.0,
            discount,
        }
    }

    #[test]
    fn the_list_price_is_without_discount() {
        assert!((price(&line(0.5)).unwrap().list_price - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_discount_above_half_is_refused() {
        let refused = price(&line(0.7)).unwrap_err().to_string();
        assert_eq!(refused, "a discount of 0.7 is above the 0.5 that is allowed");
    }
}
