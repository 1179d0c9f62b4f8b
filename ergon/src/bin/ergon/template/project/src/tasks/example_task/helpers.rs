//! Plain functions of this task.

use crate::tasks::schemas::Item;

/// How many pieces the items are together.
pub(crate) fn pieces(items: &[Item]) -> u32 {
    items
        .iter()
        .fold(0, |pieces, item| pieces.saturating_add(item.quantity))
}

/// What the items cost together, in cents.
pub(crate) fn total(items: &[Item]) -> u64 {
    items.iter().fold(0, |total, item| {
        total.saturating_add(item.unit_price.saturating_mul(item.quantity.into()))
    })
}
