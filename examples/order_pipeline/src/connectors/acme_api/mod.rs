//! Connects to the API of ACME, where the project places orders and reads bookings page by page.

mod client;
mod connector;
mod schemas;

pub(crate) use connector::AcmeApiConfig;
pub(crate) use schemas::Booking;
