//! Defines the messages of ACME's API.

use ergon::prelude::*;

/// An order that ACME has booked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Booking {
    /// ACME's own number, counted from 1.
    pub(crate) number: u64,
    /// The order, as the project placed it.
    pub(crate) order: Value,
}

/// A page of bookings.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) bookings: Vec<Booking>,
    /// The number after which the next page begins; none if this page is the last.
    pub(super) next: Option<u64>,
}
