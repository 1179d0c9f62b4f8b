//! The input of the task: a row of the workbook.

use ergon::prelude::*;

/// A row of the workbook. Columns that have no field here are ignored.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct WorkbookRow {
    #[serde(rename = "Row ID")]
    pub(crate) row_id: u64,
    #[serde(rename = "Order ID")]
    pub(crate) order_id: String,
    #[serde(rename = "Customer ID")]
    pub(crate) customer_id: String,
    #[serde(rename = "Product ID")]
    pub(crate) product_id: String,
    #[serde(rename = "Quantity")]
    pub(crate) quantity: u32,
    /// The price that the customer pays for the line.
    #[serde(rename = "Sales")]
    pub(crate) sales: f64,
    /// The discount as a share of the price, from 0 to 1.
    #[serde(rename = "Discount")]
    pub(crate) discount: f64,
}
