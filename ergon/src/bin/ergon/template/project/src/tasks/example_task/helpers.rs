//! Functions of this task.

use crate::tasks::schemas::Item;

/// The number of pieces of all items.
pub(crate) fn pieces(items: &[Item]) -> u32 {
    items
        .iter()
        .fold(0, |pieces, item| pieces.saturating_add(item.quantity))
}

/// The price of all items, in cents.
pub(crate) fn total(items: &[Item]) -> u64 {
    items.iter().fold(0, |total, item| {
        total.saturating_add(item.unit_price.saturating_mul(item.quantity.into()))
    })
}
