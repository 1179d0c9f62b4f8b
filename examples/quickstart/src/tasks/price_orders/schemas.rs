//! The input and the output of the task.

use ergon::prelude::*;

/// A row of the workbook. Columns that have no field here are ignored.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OrderLine {
    #[serde(rename = "Row ID")]
    pub(crate) row_id: u64,
    #[serde(rename = "Order ID")]
    pub(crate) order_id: String,
    #[serde(rename = "Order Date")]
    pub(crate) order_date: String,
    #[serde(rename = "Customer ID")]
    pub(crate) customer_id: String,
    #[serde(rename = "Product ID")]
    pub(crate) product_id: String,
    #[serde(rename = "Quantity")]
    pub(crate) quantity: u32,
    /// The price that the customer pays for the line, after the discount.
    #[serde(rename = "Sales")]
    pub(crate) sales: f64,
    /// The discount as a share of the price, from 0 to 1.
    #[serde(rename = "Discount")]
    pub(crate) discount: f64,
}

/// A priced line of an order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Receipt {
    pub(crate) row_id: u64,
    pub(crate) order_id: String,
    pub(crate) order_date: String,
    pub(crate) customer_id: String,
    pub(crate) product_id: String,
    pub(crate) quantity: u32,
    /// The price that the customer pays for the line.
    pub(crate) sales: f64,
    /// The price of the line without the discount.
    pub(crate) list_price: f64,
}
